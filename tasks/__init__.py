"""What we make: pure values and decisions, one module per domain."""

from autodata.tasks import cs, legal, science
from autodata.tasks.task import Task

TASKS: dict[str, Task] = {t.name: t for t in (cs.TASK, legal.TASK, science.TASK)}

__all__ = ["TASKS", "Task"]

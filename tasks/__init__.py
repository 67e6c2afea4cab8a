"""What we make: pure values and decisions, one module per domain."""

from autodata.tasks.task import Registry, Task

TASKS = Registry(
    "autodata.tasks.cs",
    "autodata.tasks.legal",
    "autodata.tasks.procedural",
    "autodata.tasks.science",
)

__all__ = ["TASKS", "Task"]

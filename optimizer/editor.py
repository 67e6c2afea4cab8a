"""The editor: a diagnosis in, the smallest edit of the prompts that addresses it out."""

from collections.abc import Mapping
from typing import Literal

from langchain_core.tools import BaseTool

from autodata.models.client import Models
from autodata.optimizer.agent import AgentLimits, FileTools, Tool, tool, work
from autodata.optimizer.analyst import Diagnosis
from autodata.optimizer.evidence import Effect, Prediction
from autodata.optimizer.guard import Sources, faults
from autodata.prompt_store.prompt import locked
from autodata.tasks.types import Code, Frozen

EDITOR_LIMITS = AgentLimits(calls=40, tokens=100_000)


class Edit(Frozen):
    """A finished edit: the files that changed, what it says, what it is for, what it predicts."""

    files: Mapping[str, str]
    subject: str
    intent: str
    predicts: Prediction


class EditWorkspace(FileTools):
    """A task's editable prompts as the editor changes them, and the edit once finished."""

    edit: Edit | None = None

    def __init__(self, task: str, before: Mapping[str, str], sources: Sources) -> None:
        super().__init__({p: text for p, text in before.items() if p.startswith(f"{task}/")})
        self._task = task
        self._before = before
        self._sources = sources

    def tools(self) -> list[BaseTool]:
        changing: tuple[Tool, ...] = (self.replace, self.create, self.check, self.finish)
        return [*super().tools(), *map(tool, changing)]

    async def replace(self, path: str, old: str, new: str) -> str:
        """Replace a passage that stands in a file exactly once; give enough of it to be unique."""
        if path not in self.files:
            return self.missing(path)
        times = self.files[path].count(old) if old else 0
        if times != 1:
            return f"not replaced: the passage stands {times} times in {path}"
        self.files[path] = self.files[path].replace(old, new)
        return "replaced"

    async def create(self, path: str, text: str) -> str:
        """Write a whole file anew, such as a rubric.yaml; only the files listed may be written."""
        if path not in self.files:
            return self.missing(path)
        self.files[path] = text
        return "written"

    async def check(self) -> str:
        """Say whether the edit may stand as it is, and what is wrong with it if not."""
        found = faults(self._task, self._before, {**self._before, **self.files}, self._sources)
        return "\n".join(map(str, found)) or "the edit may stand"

    async def finish(
        self,
        subject: str,
        intent: str,
        predicted: Code | Literal["ACCEPTED"],
        effect: Effect,
    ) -> str:
        """End the work: what the new rule says in one line of at most 72 characters; which cause
        the edit addresses and how; which rate will move (an objection code, or ACCEPTED for the
        pass rate) and whether it rises or falls."""
        if not subject.strip() or not intent.strip():
            return "not finished: a subject and an intent are needed"
        changed = {p: text for p, text in self.files.items() if text != self._before[p]}
        self.edit = Edit(
            files=changed,
            subject=" ".join(subject.split()),
            intent=intent.strip(),
            predicts=Prediction(what=predicted, effect=effect),
        )
        return "finished"


async def edit(
    models: Models,
    task: str,
    before: Mapping[str, str],
    diagnosis: Diagnosis,
    history: str,
    sources: Sources,
    *,
    scope: str,
    limits: AgentLimits = EDITOR_LIMITS,
) -> Edit | str:
    """The edit, or why the editor finished none.

    It may be blocked: that is for the guard to say. Raises Paused and CallRefused.
    """
    workspace = EditWorkspace(task, before, sources)
    prompt = locked("optimizer", "editor").render(
        analysis=diagnosis.text, history=history, files=await workspace.list_files()
    )
    reason = await work(
        models,
        "editor",
        scope,
        prompt,
        workspace.tools(),
        done=lambda: bool(workspace.edit),
        ends="finish",
        limits=limits,
    )
    return workspace.edit or reason

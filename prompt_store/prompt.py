"""Prompts: Markdown files with `{{name}}` placeholders, rendered strictly and in one pass; and
whether a set of them may be used, every fault as a sentence that names the file.

Editable prompts travel as a `PromptSet` (packaged, or read from git by `prompt_store.store`).
Locked prompts come from the package and from nowhere else: no optimizer can reach them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Literal

import yaml
from pydantic import ValidationError

from autodata.tasks import TASKS
from autodata.tasks.rubric import RubricPolicy
from autodata.tasks.types import Frozen, digest

USER_LINE = "<!-- user -->"
TOGETHER = ("cs", "legal", "science", "optimizer")
"""Prompts that are cited as one, as they were while there were no others."""
FORMER: Mapping[str, Mapping[str, str]] = {
    "seed-2341352f8718": {"cs": "a19ee4c4b605", "legal": "47bd4d06e7ba"},
    "locked-94fb46689384": {
        "cs": "40c7f48ddec9", "legal": "e7c1e66b748d", "science": "951b91b42d14"
    },
}  # fmt: skip
"""What earlier versions cited, with the content hash of each domain's own prompts at the time."""
EVOL = ("self-instruct/one_shot.md", "evol/evolve.md", "evol/operators.md")  # what it consists of
OURS = "autodata.prompt_store"  # the package whose prompts these are, unless a task names another
PLACEHOLDER = re.compile(r"\{\{([^{}\n]*)\}\}")

# Role → what its prompt must contain, each exactly once. A name with a companion file is needed
# only by tasks that have that file: {"angle": "angles.md"} concerns tasks with angles.
_CANDIDATE = {
    "document": "",
    "rubric_policy": "rubric.yaml",
    "context": "",
    "question": "",
    "question_type": "",
    "reference_answer": "",
    "rubric": "rubric.yaml",
}
PLACEHOLDERS: Mapping[str, Mapping[str, str]] = {
    "challenger": {
        "document": "",
        "rubric_policy": "rubric.yaml",
        "case_file": "extractor.md",
        "angle": "angles.md",
        "instruction": "",
    },
    "one_shot": {"document": "", "rubric_policy": "rubric.yaml"},
    "evolve": {**_CANDIDATE, "rubric": "", "instruction": ""},
    "orchestrator": {"feedback": ""},
    "verifier": _CANDIDATE,
    "final_verifier": _CANDIDATE,
    "solver": {"context": "", "question": ""},
    "judge": {"context": "", "question": "", "rubric": "", "answer": ""},
    "extractor": {"document": ""},
    "loop_judge": {
        "context": "",
        "question": "",
        "rubric": "",
        "weak_attempts": "",
        "strong_attempts": "",
    },
    "analyst": {"index": "", "history": ""},
    "editor": {"analysis": "", "history": "", "files": ""},
}


class PromptError(ValueError):
    """A prompt that cannot be used: the message names the file, the fault and what is expected."""


class Message(Frozen):
    """One chat message as sent to a model."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(Frozen):
    """One Markdown prompt; `path` ends in `<task>/<role>.md` and says which values it takes."""

    path: str
    text: str

    @property
    def declared(self) -> tuple[str, ...]:
        """Names of the placeholders that this prompt must contain, each once."""
        task, _, name = self.path.rpartition("/")
        task, role = task.rpartition("/")[2], name.removesuffix(".md")
        return tuple(
            name
            for name, companion in PLACEHOLDERS.get(role, {}).items()
            if not companion or companion in _companions(task)
        )

    def render(self, **values: str) -> tuple[Message, ...]:
        """The system and the user message, with every placeholder replaced by its value.

        One pass: a value that itself contains `{{…}}` or the user line stays as it is. Raises
        PromptError when a placeholder or a value is missing, unknown or repeated.
        """
        declared, parts = _checked(self)
        if values.keys() != set(declared):
            faults = _differences("value", values, declared)
            raise PromptError(f"{self.path}: {'; '.join(faults)}; {self.expectation()}")
        system, user = (_filled(part, values) for part in parts)
        return Message(role="system", content=system), Message(role="user", content=user)

    def parts(self) -> tuple[str, str]:
        """The text before and after the user line; PromptError unless it stands there once."""
        parts = re.split(rf"^{re.escape(USER_LINE)}$", self.text, flags=re.MULTILINE)
        if len(parts) != 2 or not all(part.strip() for part in parts):
            raise PromptError(
                f"{self.path}: needs one line that is exactly {USER_LINE}, with the system "
                "message before it and the user message after it"
            )
        return parts[0].strip(), parts[1].strip()

    def placeholder_faults(self) -> list[str]:
        """Placeholders that are missing, unknown or repeated, each as a clause."""
        names = PLACEHOLDER.findall(self.text)
        return _differences("placeholder", names, self.declared) + [
            f"placeholder {braced(name)} stands more than once"
            for name, times in Counter(names).items()
            if times > 1
        ]

    def expectation(self) -> str:
        """What is declared, for the end of an error message."""
        return f"declared are {', '.join(map(braced, self.declared)) or 'none'}"


Pieces = tuple[str, ...]  # text, name, text, name, …, text


@lru_cache(maxsize=256)
def _checked(prompt: Prompt) -> tuple[tuple[str, ...], tuple[Pieces, Pieces]]:
    """What a prompt takes, and its two parts in pieces; raises PromptError at any fault."""
    if faults := prompt.placeholder_faults():
        raise PromptError(f"{prompt.path}: {'; '.join(faults)}; {prompt.expectation()}")
    system, user = prompt.parts()
    return prompt.declared, (tuple(PLACEHOLDER.split(system)), tuple(PLACEHOLDER.split(user)))


def _filled(pieces: Pieces, values: Mapping[str, str]) -> str:
    return "".join(values[piece] if at % 2 else piece for at, piece in enumerate(pieces))


class PromptSet(Frozen):
    """All editable prompts of one revision.

    `files` maps a path such as `cs/challenger.md` to its text; `revision` is a commit of a prompt
    store or `seed-<12 hex digits>` for the packaged prompts, and `elsewhere` the revision by task
    where another package ships the prompts. Examples cite it.
    """

    revision: str
    files: Mapping[str, str]
    elsewhere: Mapping[str, str] = {}

    def revision_of(self, task: str) -> str:
        """The revision of a task's prompts."""
        return self.elsewhere.get(task, self.revision)

    @property
    def content_hash(self) -> str:
        """SHA-256 (64 hex digits) of the sorted (path, text) pairs: equal prompts, equal hash."""
        return digest(sorted(self.files.items()))

    def prompt(self, task: str, role: str) -> Prompt:
        """The prompt of an editable role; raises PromptError when this revision has none."""
        path = f"{task}/{role}.md"
        return Prompt(path=path, text=self._text(path))

    def rubric_policy(self, task: str) -> RubricPolicy | None:
        """The policy in `<task>/rubric.yaml`; None for a task whose answers are compared.

        Raises PromptError naming the field that is wrong.
        """
        path = f"{task}/rubric.yaml"
        if "rubric.yaml" not in _companions(task):
            return None
        return _policy(path, self._text(path))

    def angles(self, task: str) -> tuple[str, ...]:
        """One angle per parallel challenger, from the bullets of `<task>/angles.md`; or none."""
        return self.bullets(task, "angles") if "angles.md" in _companions(task) else ()

    def bullets(self, task: str, name: str) -> tuple[str, ...]:
        """The bullets of `<task>/<name>.md`, each on one line. Raises PromptError."""
        bullets = re.split(r"^- ", self._text(f"{task}/{name}.md"), flags=re.MULTILINE)[1:]
        return tuple(" ".join(bullet.split()) for bullet in bullets)

    def _text(self, path: str) -> str:
        if path not in self.files:
            raise PromptError(
                f"{path}: not among the editable prompts of revision {self.revision}, "
                f"which are {', '.join(sorted(self.files)) or 'none'}"
            )
        return self.files[path]


@cache
def packaged() -> PromptSet:
    """The seed prompts that ship with the package, cited by content as `seed-<12 hex digits>`.

    Domains that joined later, here or in another package, are cited apart: their coming and going
    leaves the others as they are.
    """
    elsewhere = {task: _cited("seed", task) for task in TASKS if task not in TOGETHER}
    ours = _cited("seed", TOGETHER[0])
    return PromptSet(revision=ours, files=_all_texts("seed"), elsewhere=elsewhere)


def unchanged_since(revision: str, task: str) -> bool:
    """Whether a task's own prompts, seeds or locked ones, are still those that an earlier version
    cited so."""
    if revision not in FORMER:
        return False
    texts = _all_texts("locked" if revision.startswith("locked-") else "seed")
    own = [item for item in texts.items() if item[0].startswith(f"{task}/")]
    return FORMER[revision].get(task) == digest(sorted(own))[:12]


def locked(task: str, role: str) -> Prompt:
    """The prompt of a locked role, from the package only; raises PromptError when none exists."""
    path = f"{task}/{role}.md"
    if path not in _all_texts("locked"):
        raise PromptError(
            f"{path}: no such locked prompt; there are {', '.join(sorted(_all_texts('locked')))}"
        )
    return Prompt(path=f"locked/{path}", text=_all_texts("locked")[path])


def locked_text(task: str, role: str) -> str:
    """The text of a locked prompt, as `locked` finds it."""
    return locked(task, role).text


@cache
def one_shot(task: str, method: str) -> PromptSet:
    """The prompts of a one-shot baseline for a task, cited by content as `baseline-<12 hex digits>`
    and as locked as any: what its method says, with the form of the task's examples in place of
    `{{form}}`, and the packaged rubric policy.

    Raises PromptError for a task whose package ships no such form.
    """
    shared = files(OURS).joinpath("locked/baseline")
    forms = files(TASKS[task].prompts).joinpath("locked/baseline/forms")
    form = forms.joinpath(f"{task}.md")
    if not form.is_file():
        raise PromptError(
            f"there is no baseline of {task}: its package ships no locked/baseline/forms/{task}.md"
        )
    told = {"title": TASKS[task].title, "form": form.read_text(encoding="utf-8").strip()}
    texts = {}
    for file in EVOL if method == "evol" else (f"{method}/one_shot.md",):
        text = shared.joinpath(file).read_text(encoding="utf-8")
        for name, said in told.items():
            text = text.replace(braced(name), said)
        texts[f"{task}/{file.rpartition('/')[2]}"] = text
    policy = {p: t for p, t in packaged().files.items() if p == f"{task}/rubric.yaml"}
    texts |= policy
    return PromptSet(revision=f"baseline-{digest(sorted(texts.items()))[:12]}", files=texts)


def locked_revision(task: str) -> str:
    """`locked-<12 hex digits>`: content hash of the locked prompts that are cited with a task's."""
    return _cited("locked", task)


@cache
def _cited(tree: str, task: str) -> str:
    its = TOGETHER if task in TOGETHER else (task,)
    texts = [item for item in _all_texts(tree).items() if item[0].partition("/")[0] in its]
    return f"{tree}-{digest(sorted(texts))[:12]}"


def braced(name: str) -> str:
    """A placeholder as it stands in a prompt."""
    return "{{" + name + "}}"


@lru_cache  # asked for with every prompt, and YAML takes a millisecond
def policy_text(policy: RubricPolicy) -> str:
    """The policy as prompts show it: its fields as YAML, one per line."""
    text: str = yaml.safe_dump(policy.model_dump(), sort_keys=False)
    return text.rstrip()


@lru_cache
def _policy(path: str, text: str) -> RubricPolicy:
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PromptError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return RubricPolicy.model_validate(fields, strict=True)
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}".replace("Value error, ", "")
            for e in error.errors()
        )
        raise PromptError(
            f"{path}: {'; '.join(faults)}; fields are {', '.join(RubricPolicy.model_fields)}"
        ) from error


def _differences(what: str, given: Iterable[str], declared: tuple[str, ...]) -> list[str]:
    given = tuple(dict.fromkeys(given))
    missing = [name for name in declared if name not in given]
    unknown = [name for name in given if name not in declared]
    return [f"{what} {braced(name)} is missing" for name in missing] + [
        f"{what} {braced(name)} is unknown" for name in unknown
    ]


@cache
def _companions(task: str) -> frozenset[str]:
    """Names of all packaged files of a task, editable and locked."""
    paths = [*packaged().files, *_all_texts("locked")]
    return frozenset(path.partition("/")[2] for path in paths if path.startswith(f"{task}/"))


@cache
def _all_texts(tree: str) -> Mapping[str, str]:
    packages = {OURS, *(task.prompts for task in TASKS.values())}
    return {path: text for package in packages for path, text in _texts(tree, package).items()}


@cache
def _texts(tree: str, package: str) -> Mapping[str, str]:
    """`<task>/<file>` → text of a package's tree; another package's for its own tasks alone."""
    its = {task.name for task in TASKS.values() if task.prompts == package}
    return {
        f"{folder.name}/{file.name}": file.read_text(encoding="utf-8")
        for folder in files(package).joinpath(tree).iterdir()
        if folder.is_dir() and (package == OURS or folder.name in its)
        for file in folder.iterdir()
        if file.name.endswith((".md", ".yaml"))
    }


IN_SYSTEM = frozenset({"rubric_policy"})  # our own data; foreign text stays in the user message
ANGLES = (3, 5)  # challengers in parallel (paper, section 2)


def problems(prompts: PromptSet) -> list[str]:
    """Everything that keeps a set from being used; an empty list means it is sound.

    A set has exactly the files of the packaged seeds: a file less is a missing prompt, a file
    more would never be read.
    """
    expected = packaged().files
    found = [f"{path}: missing" for path in sorted(expected.keys() - prompts.files.keys())]
    found += [
        f"{path}: no role reads this file; the files are {', '.join(sorted(expected))}"
        for path in sorted(prompts.files.keys() - expected.keys())
    ]
    for path in sorted(expected.keys() & prompts.files.keys()):
        task, _, name = path.partition("/")
        if name == "rubric.yaml":
            faults = _policy_faults(prompts, task)
        elif name == "angles.md":
            faults = _angle_faults(prompts.angles(task))
        else:
            faults = prompt_faults(Prompt(path=path, text=prompts.files[path]))
        found += [f"{path}: {fault}" for fault in faults]
    return found


def prompt_faults(prompt: Prompt) -> list[str]:
    """What is wrong with one prompt: title, user line, placeholders, tags."""
    found = [f"{fault}; {prompt.expectation()}" for fault in prompt.placeholder_faults()]
    role = prompt.path.rpartition("/")[2].removesuffix(".md").replace("_", " ").capitalize()
    if not prompt.text.startswith(f"# {role} · "):
        found.append(f"the first line must be the title “# {role} · <domain>”")
    try:
        _, user = prompt.parts()
    except PromptError as error:
        return [*found, str(error).removeprefix(f"{prompt.path}: ")]
    found += [
        f"{braced(name)} must stand alone on its line between <{name}> and </{name}> "
        f"after the line {USER_LINE}"
        for name in prompt.declared
        if name not in IN_SYSTEM and f"\n<{name}>\n{braced(name)}\n</{name}>\n" not in f"\n{user}\n"
    ]
    return found


def _policy_faults(prompts: PromptSet, task: str) -> list[str]:
    """Schema faults, or bounds that no rubric could meet."""
    try:
        policy = prompts.rubric_policy(task)
    except PromptError as error:
        return [str(error).removeprefix(f"{task}/rubric.yaml: ")]
    if policy is None:
        return []
    pairs = (
        ("items_min", policy.items_min, "items_max", policy.items_max),
        ("negatives_min", policy.negatives_min, "negatives_max", policy.negatives_max),
        (
            "positives_min + negatives_min",
            policy.positives_min + policy.negatives_min,
            "items_max",
            policy.items_max,
        ),
    )
    return [
        f"{low} is {least}, more than {high}, which is {most}: no rubric can meet both"
        for low, least, high, most in pairs
        if least > most
    ]


def _angle_faults(angles: tuple[str, ...]) -> list[str]:
    low, high = ANGLES
    found = []
    if not low <= len(angles) <= high:
        found.append(f"{len(angles)} angles; {low} to {high} challengers work in parallel")
    if "" in angles:
        found.append("an angle is empty")
    if any(one == other for one, other in pairwise(sorted(angles))):
        found.append("two angles are the same")
    return found

"""Exports that are folders: a data set for a hub, a taskset for verifiers, sessions for a viewer of
traces."""

import importlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import get_args

from autodata.ledger.filters import ExportError, Split
from autodata.ledger.ledger import Ledger
from autodata.ledger.records import Format, Record
from autodata.ledger.rows import from_text, to_json
from autodata.tasks.types import Attempt, Candidate, Round, Verdict

Prompts = Callable[[str, str], str]
"""The text of the prompt that a task's solver or judge is asked by."""
Rows = Mapping[Split, Iterable[Record]]
Writer = Callable[[Path, Format, Iterable[Record]], int]

UNJUDGED = ("procedural",)
"""Tasks whose answers code settles alone: their package needs no judge."""

_WRITTEN_BY = "Written by `autodata export --format {}`."
_CARD = re.compile(r"\A---\n.*?^# (autodata |Is it the length)", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@contextmanager
def folder_for(asked: Path | None, run: Path, format: str) -> Iterator[tuple[Path, Path]]:
    """The folder of an export, and a draft that takes its place when all went well.

    By default it lies in the run folder under the format's name, as it does in a folder that is
    there and is no export. An earlier export of the same format is replaced file by file, so that
    nothing else in its folder is lost. Raises ExportError when the folder's parent does not exist.
    """
    place = asked or run
    if place.is_dir() and not _is_export(place, format):
        place /= format
    if not place.parent.is_dir():
        raise ExportError(f"there is no folder {place.parent}; make it, or name another place")
    if place.exists() and any(place.iterdir()) and not _is_export(place, format):
        raise ExportError(f"{place} holds something else; name another place, or remove it")
    draft = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        yield place, draft
        _replace(place, draft, format)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_export(place: Path, format: str) -> bool:
    card = place / "README.md"
    mark = _WRITTEN_BY.format(format)
    return card.is_file() and mark in card.read_text(encoding="utf-8", errors="replace")


def _replace(place: Path, draft: Path, format: str) -> None:
    """Puts the draft in its place; of an earlier export the card goes last, and rows that are no
    longer there go."""
    draft.chmod(0o777 & ~_umask())
    if not place.exists():
        draft.replace(place)
        return
    written = sorted(path.relative_to(draft) for path in draft.rglob("*") if path.is_file())
    stale = {path.relative_to(place) for path in _rows_in(place, format)}
    for path in sorted(written, key=lambda path: path.name == "README.md"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (draft / path).replace(place / path)
    for path in stale - set(written):
        (place / path).unlink()


def _rows_in(place: Path, format: str) -> Iterator[Path]:
    """The rows of an earlier export: files that lie and are named as we write them. Others, such as
    what an evaluation left in the folder, are not ours to remove."""
    if format == "verifiers":
        packages = [file.parent for file in place.glob("*/taskset.py")]
        rows = (package / f"{split}.jsonl" for package in packages for split in get_args(Split))
        yield from filter(Path.is_file, rows)
        return
    written = "data/{}.parquet" if format == "hf" else "sessions/{}/*.jsonl"
    for split in get_args(Split):
        yield from place.glob(written.format(split))


def card_at(path: Path) -> Path:
    """Where a card is to be written. Raises ExportError where something else than a card lies."""
    if path.exists() and not _CARD.search(path.read_text(encoding="utf-8", errors="replace")):
        raise ExportError(
            f"{path} is no dataset card, which would take its place; name another place, or move it"
        )
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def signed(card: str, format: str, *more: str) -> str:
    """The card of a folder: it says by what it was written, so that it may be written anew."""
    return "\n".join([card.rstrip(), "", *more, _WRITTEN_BY.format(format), ""])


# A data set for a hub


def write_data_set(
    draft: Path, form: Format, rows: Rows, card: Callable[[Mapping[Split, str]], str], write: Writer
) -> Mapping[Split, str]:
    """`data/train.parquet`, and `data/test.parquet` where there is a test, with the card that tells
    a hub, and `datasets.load_dataset`, which is which. Returns their names, as the others do."""
    (draft / "data").mkdir()
    names: dict[Split, str] = {split: f"data/{split}.parquet" for split in rows}
    for split, name in names.items():
        write(draft / name, form, rows[split])
    (draft / "README.md").write_text(signed(card(names), form.name), encoding="utf-8")
    return names


# A taskset for verifiers


def write_taskset(
    draft: Path,
    form: Format,
    rows: Rows,
    card: Callable[[Mapping[Split, str]], str],
    write: Writer,
    name: str,
    prompts: Prompts,
) -> Mapping[Split, str]:
    """An installable package `name` that needs verifiers and nothing of ours: the rows, what asks
    and scores them, and the prompts of solver and judge as they are in this version.

    Raises ExportError where the name is none for a package.
    """
    if not _NAME.fullmatch(name):
        raise ExportError(
            f"{name!r} names no package: lower-case letters and digits, in words joined by dashes; "
            "the folder's name is the package's"
        )
    module = draft / (package := name.replace("-", "_"))
    module.mkdir()
    names: dict[Split, str] = {split: f"{package}/{split}.jsonl" for split in rows}
    tasks = set[str]()
    for split, place in names.items():
        write(draft / place, form, _noting(rows[split], tasks))
    for task in sorted(tasks):
        (module / "prompts" / task).mkdir(parents=True)
        for role in ("solver",) if task in UNJUDGED else ("solver", "judge"):
            text = prompts(task, role)
            (module / "prompts" / task / f"{role}.md").write_text(text, encoding="utf-8")
    ours = files("autodata.ledger") / "taskset"
    for file, to in {
        "pyproject.toml.txt": draft / "pyproject.toml",
        "init.py.txt": module / "__init__.py",
        "taskset.py.txt": module / "taskset.py",
        "scoring.py.txt": module / "scoring.py",
    }.items():
        text = (ours / file).read_text(encoding="utf-8")
        to.write_text(_named(text, name, package), encoding="utf-8")
    use = _named((ours / "use.md.txt").read_text(encoding="utf-8"), name, package)
    (draft / "README.md").write_text(signed(card(names), form.name, use), encoding="utf-8")
    return names


def _noting(rows: Iterable[Record], tasks: set[str]) -> Iterator[Record]:
    for row in rows:
        tasks.add(row["task"])
        yield row


def _named(text: str, name: str, package: str) -> str:
    return text.replace("{{name}}", name).replace("{{module}}", package)


# Sessions for a viewer of traces


def write_sessions(
    draft: Path,
    form: Format,
    rows: Rows,
    card: Callable[[Mapping[Split, str]], str],
    ledger: Ledger,
) -> Mapping[Split, str]:
    """A file per example, as the viewer of a hub reads sessions: a line that says whose session it
    is, and a line for each message of the document's loop."""
    names: dict[Split, str] = {}
    for split, headers in rows.items():
        (draft / "sessions" / split).mkdir(parents=True)
        names[split] = f"sessions/{split}/*.jsonl"
        for header in headers:
            lines = [header, *({"type": "message", "message": m} for m in _told(ledger, header))]
            file = draft / "sessions" / split / f"{_file_name(header['id'])}.jsonl"
            text = "".join(to_json(line) + "\n" for line in lines)
            file.write_text(text, encoding="utf-8", newline="\n")
    (draft / "README.md").write_text(signed(card(names), form.name), encoding="utf-8")
    return names


def _file_name(id: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", id)


def _told(ledger: Ledger, header: Record) -> Iterator[Record]:
    """The loop of an example's document as a conversation: the challenger is the agent, whoever
    checks and solves its tools, and what was objected to comes back as the user's."""
    meta = header["meta"]
    document = ledger.document(meta["document_id"])
    yield _said("user", f"# {document.name}\n\n{document.text}")
    for round in ledger.rounds(meta["run"], document.id):
        if round.instruction:
            yield _said("user", round.instruction)
        if round.candidate is None:
            continue
        calls = list(_checked(round))
        yield {
            **_said("assistant", _candidate(round.candidate)),
            "model": meta["models"].get("challenger"),
            "toolCalls": [
                {"id": f"{round.number}.{n}", "function": {"name": name, "arguments": arguments}}
                for n, (name, arguments, _) in enumerate(calls, 1)
            ],
        }
        for n, (_, _, result) in enumerate(calls, 1):
            yield {**_said("tool", result), "toolCallId": f"{round.number}.{n}"}
        if round.objections:
            lines = (f"- {each.code}: {each.message}" for each in round.objections)
            yield _said("user", "\n".join(["Sent back:", *lines]))
        else:
            yield _said("user", f"Decision: {round.decision}.")


def _said(role: str, content: str) -> Record:
    return {"role": role, "content": from_text(content)}


def _candidate(candidate: Candidate) -> str:
    rubric = "\n".join(f"{c.weight:+d} {c.criterion}" for c in candidate.rubric)
    parts = {
        "Context": candidate.context,
        "Question": candidate.question,
        "Reference answer": candidate.reference_answer,
        "Rubric": rubric,
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items() if text)


def _checked(round: Round) -> Iterator[tuple[str, str, str]]:
    """Who was asked about a round's candidate, for what (JSON), and what they said."""
    if round.verdict:
        yield "verifier", "{}", _verdict(round.verdict)
    for attempt in round.attempts:
        asked = {"attempt": attempt.number, "call_id": attempt.call_id, "fresh": attempt.fresh}
        yield f"{attempt.solver}_solver", to_json(asked), _attempt(attempt)
    if round.judgement:
        yield "loop_judge", "{}", to_json(round.judgement.model_dump())
    if round.final_verdict:
        yield "final_verifier", "{}", _verdict(round.final_verdict)


def _verdict(verdict: Verdict) -> str:
    found = "passed" if verdict.passed else "failed"
    return "\n".join([found, *(f"- {text}" for text in (*verdict.problems, *verdict.fixes))])


def _attempt(attempt: Attempt) -> str:
    """The answer, its score and the judge's marks."""
    marks = (
        f"- {'met' if mark.met else 'not met'} ({mark.weight:+d}): {mark.criterion}"
        for mark in attempt.marks
    )
    return "\n".join([attempt.answer, "", f"Score: {attempt.said}", *marks])


# Sending a folder to a hub

PUSHED = ("hf", "traces")
"""The formats that a hub keeps as data sets."""
_ROWS = ["data/*.parquet", "sessions/*.jsonl"]


def check_push(ledger: Ledger, form: str, run_id: str | None, simulated: bool) -> None:
    """Raises ExportError where the format is none for a hub, or where models were simulated and
    nobody said that this is meant."""
    if form not in PUSHED:
        raise ExportError(f"--push sends {' and '.join(PUSHED)}, and {form} is neither")
    runs = [ledger.run(run_id)] if run_id else ledger.runs_with_examples()
    if any(run.simulated for run in runs) and not simulated:
        raise ExportError(
            "the examples come from simulated models and are nothing to train on; "
            "--push-simulated sends them all the same"
        )


def push_folder(folder: Path, repo: str, *, public: bool = False) -> str:
    """Sends an export's folder to a data set `user/name` of the Hugging Face Hub, private unless
    stated, and returns its address. Rows of an earlier export that are no longer there go.

    Token and address are those of huggingface-hub (`hf auth login`, or HF_TOKEN; HF_ENDPOINT).
    Raises ExportError where the extra is missing, the hub refuses or cannot be reached, and where
    the data set is there and public, which `public` did not ask for.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
        errors = importlib.import_module("huggingface_hub.errors")
    except ImportError as error:
        raise ExportError("--push needs an extra: pip install 'autodata-loop[hub]'") from error
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        if not public and not api.repo_info(repo, repo_type="dataset").private:
            raise ExportError(f"the data set {repo} is public; --public says that this is meant")
        api.upload_folder(
            folder_path=folder,
            repo_id=repo,
            repo_type="dataset",
            commit_message="Export by autodata",
            allow_patterns=["README.md", *_ROWS],
            delete_patterns=_ROWS,
        )
    except (
        errors.HfHubHTTPError,
        errors.HFValidationError,
        errors.LocalTokenNotFoundError,
    ) as error:
        raise ExportError(
            f"the hub did not take {repo}: {str(error).strip()}; who you are it knows by "
            "`hf auth login`, or HF_TOKEN"
        ) from error
    except (OSError, hub.utils.httpx.HTTPError) as error:  # it raises those of its HTTP client
        raise ExportError(f"the hub cannot be reached ({api.endpoint}): {error}") from error
    return f"{api.endpoint}/datasets/{repo}"

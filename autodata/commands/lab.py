"""autodata lab: small students are trained on what the loop makes, and measured.

The loop is the one of every run, over the domain `procedural`; its two solvers are the student and
a teacher, asked over HTTP on llama.cpp's server. Each student is a process of its own, its runs are
run folders, and what is done is kept: the same command goes on where it stopped.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autodata import api
from autodata.commands.models import serve_file
from autodata.ledger.ledger import Ledger
from autodata.options import DONE
from autodata.run_folder import RunFolderError
from autodata.screen import print_table, screen, table
from autodata.settings import SettingsError
from autodata.tasks.procedural import challenge

if TYPE_CHECKING:
    from autodata.lab.experiment import LabSettings, Looped, StudentResult
    from autodata.lab.training import Chain

NEEDED = ("gguf", "jax", "optax", "safetensors", "scipy", "xllamacpp")  # the extra `lab`
SPARE = 1.3  # documents for each question that is wanted: enough where eight of ten yield one
PLAIN = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "cache_prompt": False}  # sampled as it is trained
ENDPOINT = {"max_concurrency": 1, "backoff": 0.01}  # one slot: answers follow from their seeds
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"  # each student has a processor of its own
WEIGHTS = Path(str(files("autodata.lab"))) / "weights"  # of students and teacher
CONTEXT = 128  # tokens that a server holds: what the models were made for
SETTINGS, RESULTS, PAGE = "lab.json", "student-{}.json", "lab.html"
Say = Callable[[str], None]


def lab(out: Path, quick: bool, seed: int) -> int:
    """Runs the experiment, or goes on with it, and writes its page.

    Raises SettingsError without the extra, and RunFolderError for a folder that holds something
    else, or an experiment of other settings.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise SettingsError(f"the lab needs {', '.join(missing)}: pip install 'autodata-loop[lab]'")
    os.environ.setdefault("XLA_FLAGS", ONE_THREAD)
    from autodata.lab.experiment import QUICK_LAB, LabSettings
    from autodata.lab.page import page, rows, verdicts

    how = (QUICK_LAB if quick else LabSettings())._replace(seed=seed)
    _open(out, how)
    console, began = screen(), time.monotonic()
    results = _students(out, how, console.print)
    place = out / PAGE
    style = files("autodata.board").joinpath("static/board.css").read_text(encoding="utf-8")
    place.write_text(page(how, results, quick, style), encoding="utf-8")
    made = table("arm", *rows(results)[0][1])
    for name, cells in rows(results):
        made.add_row(name, *cells.values())
    print_table(console, made)
    for said in verdicts(results):
        console.print(said)
    console.print(f"{place} · {time.monotonic() - began:.0f} s", soft_wrap=True)
    return DONE


def _open(out: Path, how: "LabSettings") -> None:
    """Makes the folder, or holds its settings against these."""
    kept, wanted = out / SETTINGS, json.loads(json.dumps(how._asdict()))
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} is a file; --out names a folder")
    if out.is_dir() and any(out.iterdir()) and not kept.is_file():
        raise RunFolderError(f"{out} holds something else; name another --out")
    if kept.is_file():
        if json.loads(kept.read_text(encoding="utf-8")) != wanted:
            raise RunFolderError(
                f"{out} holds an experiment of other settings (--quick, --seed, version); "
                "name another --out"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def _students(out: Path, how: "LabSettings", say: Say) -> "list[StudentResult]":
    """The results of all students: those that are kept, and the others, two at a time."""
    left = [n for n in range(how.students) if not (out / RESULTS.format(n)).is_file()]
    # Spawned: an event loop and JAX's threads do not survive a fork. Leaving ends the others.
    with get_context("spawn").Pool(min(2, os.cpu_count() or 1)) as pool:
        work = partial(student, out, how)
        for done, (number, took) in enumerate(pool.imap_unordered(work, left), 1):
            said = f"{how.students - len(left) + done} of {how.students}"
            say(f"student {number} is done in {took:.0f} s: {said}")
    return [kept_result(out / RESULTS.format(n)) for n in range(how.students)]


def kept_result(path: Path) -> "StudentResult":
    """What is kept of a student that is done."""
    from pydantic import TypeAdapter

    from autodata.lab.experiment import StudentResult

    return TypeAdapter(StudentResult).validate_json(path.read_bytes())


def student(out: Path, how: "LabSettings", number: int) -> tuple[int, float]:
    """All of one student, kept in its file when it is done: its number, and the seconds it took."""
    from pydantic import TypeAdapter

    from autodata.lab.experiment import StudentResult, study
    from autodata.lab.transformer import read

    began = time.monotonic()
    documents = generators(how, number)
    loops = looped(documents, out, how, number)
    model = read(WEIGHTS / f"student-{number}")
    result = study(how, number, model, first_items(documents), loops, time.process_time)
    place = out / RESULTS.format(number)
    part = place.with_suffix(".part")
    part.write_bytes(TypeAdapter(StudentResult).dump_json(result))
    part.replace(place)
    return number, time.monotonic() - began


def generators(how: "LabSettings", number: int) -> list[dict[str, str]]:
    """Generators of chains, their dials in turn at the settings of one-shot questions."""
    from autodata.lab.experiment import STARTS

    count = round(SPARE * (how.rows + how.held_out))
    return [
        {
            "name": f"chains-{n:03}",
            "text": f"about: chains of steps for student {number} of the lab, generator {n}\n"
            f"family: chains\nsetting: {STARTS[n % len(STARTS)]}\n"
            f"seed: {how.seed * 1_000_000 + number * 10_000 + n}\n",
        }
        for n in range(count)
    ]


def first_items(documents: Sequence[Mapping[str, str]]) -> "list[Chain]":
    """The first question of each document: what the loop would begin with."""
    return [_item(challenge(document["text"], ())) for document in documents]


def looped(
    documents: Sequence[Mapping[str, str]], out: Path, how: "LabSettings", number: int
) -> "dict[str, Looped]":
    """The runs of a student, by preset; both solvers answer over HTTP while they last."""
    urls = {
        side: serve_file(WEIGHTS / name / "model.gguf", name, 0, 1, CONTEXT)
        for side, name in {"weak": f"student-{number}", "strong": "teacher"}.items()
    }
    place = out / f"student-{number}"
    wanted = {"paper": len(documents), "measured": round(SPARE * how.rows)}
    return {
        preset: loop(documents[:count], place / preset, urls, preset, how.seed)
        for preset, count in wanted.items()
    }


def loop(
    documents: Sequence[Mapping[str, str]],
    out: Path,
    urls: Mapping[str, str],
    preset: str,
    seed: int,
) -> "Looped":
    """A run of the loop in a folder of its own, or what it holds when it is done."""
    from autodata.lab.experiment import Looped

    # Only the processor's time is the same on a machine that is busy; it is kept beside the run.
    clock, before = out.with_suffix(".seconds"), time.process_time()
    solver = {"temperature": 1.0, "max_tokens": 52, "extra": PLAIN}
    sides = {f"{side}_solver": {"endpoint": side, "model": side} | solver for side in urls}
    with warnings.catch_warnings():
        # A student that ends before it begins is asked again, and gives up on the document.
        warnings.simplefilter("ignore", UserWarning)
        run = api.run(
            documents,
            task="procedural",
            out=out,
            config={
                "endpoints": {side: {"base_url": urls[side]} | ENDPOINT for side in urls},
                "models": sides,
                "acceptance": {"preset": preset},
                "run": {"seed": seed, "documents_in_flight": 4},
            },
            progress=False,
        )
    if not clock.is_file():
        clock.write_text(f"{time.process_time() - before:.3f}\n", encoding="utf-8")
    summary = run.summary()
    with Ledger.open(run.path, create=False) as ledger:
        told = [ledger.rounds(run.id, document) for document in ledger.document_ids()]
    accepted = sorted(run.examples(), key=lambda example: example.document_name)
    longest = max(
        (rounds for rounds in told if rounds and rounds[-1].decision == "accepted"), key=len
    )
    return Looped(
        accepted=[_item(example.candidate) for example in accepted],
        seconds=float(clock.read_text(encoding="utf-8")),
        calls=summary.calls,
        rounds=sum(map(len, told)),
        documents=len(documents),
        objections=dict(summary.objections),
        transcript=[
            {
                "question": round.candidate.question if round.candidate else "",
                "weak": [attempt.score for attempt in round.weak],
                "strong": [attempt.score for attempt in round.strong],
                "said": [objection.code for objection in round.objections] or ["accepted"],
            }
            for round in longest
        ],
    )


def _item(candidate: Any) -> "Chain":
    from autodata.lab.training import Chain

    level = int(candidate.angle.split()[1]) + 1  # as the procedure words it: “setting 1 of 5 …”
    return Chain(candidate.question, candidate.reference_answer, level)

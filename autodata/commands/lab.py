"""autodata lab: small students are trained on what the loop makes, and measured.

The loop is the one of every run, over the domain `procedural`; its two solvers are the student and
a teacher, asked over HTTP on llama.cpp's server. Each student is a process of its own, its runs are
run folders, and what is done is kept: the same command goes on where it stopped.
"""

import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from shutil import rmtree
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from autodata import api
from autodata.commands.models import HOST, serve_file
from autodata.ledger.ledger import Ledger
from autodata.models.errors import Paused
from autodata.options import DONE
from autodata.run_folder import RunFolder, RunFolderError
from autodata.screen import print_table, screen, table
from autodata.settings import SettingsError

if TYPE_CHECKING:
    from autodata.lab.experiment import LabSettings, Looped, StudentResult

NEEDED = ("gguf", "jax", "optax", "safetensors", "scipy", "xllamacpp")  # the extra `lab`
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
    else, or an experiment of other settings, or one that another process is at.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise SettingsError(f"the lab needs {', '.join(missing)}: pip install 'autodata-loop[lab]'")
    os.environ.setdefault("XLA_FLAGS", ONE_THREAD)
    from autodata.lab.experiment import QUICK_LAB, LabSettings
    from autodata.lab.page import page, rows, verdicts

    how = (QUICK_LAB if quick else LabSettings())._replace(seed=seed)
    _open(out, how)
    console, began = screen(), time.monotonic()
    with RunFolder(out).locked():
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
        if _read(kept, json.loads, "name another --out") != wanted:
            raise RunFolderError(
                f"{out} holds an experiment of other settings (--quick, --seed, version); "
                "name another --out"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    _keep(kept, json.dumps(wanted, indent=1).encode() + b"\n")


def _keep(place: Path, held: bytes) -> None:
    """Writes a file, all of it or nothing."""
    part = place.with_suffix(".part")
    part.write_bytes(held)
    part.replace(place)


def _read(place: Path, reading: Callable[[bytes], Any], remedy: str) -> Any:
    """What a file of the lab holds. Raises RunFolderError where it cannot be read."""
    try:
        return reading(place.read_bytes())
    except ValueError as error:
        raise RunFolderError(f"{place} is damaged, or of another version; {remedy}") from error


def _students(out: Path, how: "LabSettings", say: Say) -> "list[StudentResult]":
    """The results of all students: those that are kept, and the others, two at a time."""
    left = [n for n in range(how.students) if not (out / RESULTS.format(n)).is_file()]
    for done, (number, took) in enumerate(_processes(out, how, left), 1):
        said = f"{how.students - len(left) + done} of {how.students}"
        say(f"student {number} is done in {took:.0f} s: {said}")
    return [kept_result(out / RESULTS.format(n)) for n in range(how.students)]


def _processes(
    out: Path, how: "LabSettings", numbers: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """Each student in a process of its own, two at a time: its number when it is done, and the
    seconds it took.

    Ends with the exit code of one that failed and said why, the others with it. Raises Paused where
    one was killed.
    """
    from autodata.cli import call

    # Spawned: an event loop and JAX's threads do not survive a fork.
    context, waiting, running = get_context("spawn"), list(numbers), dict[Any, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < min(2, os.cpu_count() or 1):
                told = {"out": out, "how": how, "number": waiting.pop(0)}
                process = context.Process(
                    target=call, args=("lab", "student"), kwargs=told, daemon=True
                )
                before = signal.signal(signal.SIGINT, signal.SIG_IGN)
                process.start()  # it leaves Ctrl-C to this one, which ends it
                signal.signal(signal.SIGINT, before)
                running[process.sentinel] = process, told["number"], time.monotonic()
            for ended in wait(list(running)):
                process, number, began = running.pop(ended)
                _ended_well(process, number)
                yield number, time.monotonic() - began
    finally:
        for process, *_ in running.values():
            process.kill()  # what it has done so far is on disk
            process.join()


def _ended_well(process: BaseProcess, number: int) -> None:
    process.join()
    code = process.exitcode or DONE
    if code < 0:
        raise Paused(
            f"student {number} was ended by {signal.Signals(-code).name}",
            "Is there memory enough? The same command goes on from there.",
        )
    if code != DONE:
        sys.exit(code)


def _end_with_the_command() -> None:
    """A command that was killed has ended nothing; who works for it must not work on alone."""
    if command := parent_process():
        command.join()
        os._exit(1)


def kept_result(path: Path) -> "StudentResult":
    """What is kept of a student that is done. Raises RunFolderError where it cannot be read."""
    from pydantic import TypeAdapter

    from autodata.lab.experiment import StudentResult

    remedy, reading = "remove it, and it is made anew", TypeAdapter(StudentResult).validate_json
    found: StudentResult = _read(path, reading, remedy)
    return found


def student(out: Path, how: "LabSettings", number: int) -> int:
    """All of one student, kept in its file when it is done.

    Raises RunFolderError where the loop accepts too little for it.
    """
    from pydantic import TypeAdapter

    from autodata.lab import experiment
    from autodata.lab.transformer import read

    Thread(target=_end_with_the_command, daemon=True).start()
    documents = experiment.generators(how, number)
    loops = looped(documents, out, how, number)
    model, first = read(WEIGHTS / f"student-{number}"), experiment.first_items(documents)
    try:
        result = experiment.study(how, number, model, first, loops, time.process_time)
    except experiment.TooFewQuestions as error:
        raise RunFolderError(f"student {number}: {error}; name another --seed and --out") from error
    _keep(out / RESULTS.format(number), TypeAdapter(experiment.StudentResult).dump_json(result))
    return DONE


def looped(
    documents: Sequence[Mapping[str, str]], out: Path, how: "LabSettings", number: int
) -> "dict[str, Looped]":
    """The runs of a student, by preset; both solvers answer over HTTP while they last."""
    from autodata.lab import experiment

    # The servers are in this process: no proxy leads there.
    os.environ["no_proxy"] = f"{getproxies().get('no', '')},{HOST}"
    urls = {
        side: serve_file(WEIGHTS / name / "model.gguf", name, 0, 1, CONTEXT)
        for side, name in {"weak": f"student-{number}", "strong": "teacher"}.items()
    }
    place = out / f"student-{number}"
    wanted = {"paper": len(documents), "measured": round(experiment.SPARE * how.rows)}
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
    """A run of the loop in a folder of its own, or what it holds when it is done.

    One that was stopped begins anew: its seconds would be those of its end alone.
    """
    from autodata.lab.experiment import Looped, chain_of, transcript

    # Only the processor's time is the same on a machine that is busy; it is kept beside the run.
    clock, before = out.with_suffix(".seconds"), time.process_time()
    if out.exists() and not clock.is_file():
        rmtree(out)
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
        _keep(clock, f"{time.process_time() - before:.3f}\n".encode())
    summary = run.summary()
    with Ledger.open(run.path, create=False) as ledger:
        told = [ledger.rounds(run.id, document) for document in ledger.document_ids()]
    accepted = sorted(run.examples(), key=lambda example: example.document_name)
    return Looped(
        accepted=[chain_of(example.candidate) for example in accepted],
        seconds=float(clock.read_text(encoding="utf-8")),
        calls=summary.calls,
        rounds=sum(map(len, told)),
        documents=len(documents),
        objections=dict(summary.objections),
        transcript=transcript(told),
    )

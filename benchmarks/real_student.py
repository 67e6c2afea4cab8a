"""A real student: does SmolLM2-135M-Instruct learn more from what the gate let in?

Weak side: the student as it is. Strong side: the same model, shown four worked examples. The rows
come from finished runs of the domain `procedural`, the reward is exact, the tests are fresh items.

python benchmarks/real_student.py rows STATE RUN...     # the training rows of finished runs
python benchmarks/real_student.py run STATE             # trains and tests; killed, it goes on
python benchmarks/real_student.py table STATE           # what the finished pieces show

`run` takes torch, transformers and gguf beside autodata, and the weights that `autodata models
serve smollm2-135m` fetches. Every finished piece is a JSON file of its own in STATE; what has been
trained so far of an unfinished one is kept every CHECKPOINT steps.

SETTINGS are written down before the seeds of a STATE are trained, and it keeps the ones that it
was begun with. Fixed with them:

- Families: those of ITEM_FAMILIES with room for fresh items inside the student's band. Not
  `weekdays`, which has 7 different items at dial 0, and not `boxes`, where the untrained student is
  right in 0 of 12 (docs/procedural.md).
- Rows: every accepted example of these families, and the first-round item of the same document for
  the one-shot arm; a document is left out of both arms when either text stands there already.
- Training: GRPO as TRL's GRPOTrainer has it by default (group-normalised advantages, the token mean
  of the whole step, no KL term, one update a step), all weights. It is a loop of our own, held
  against TRL's by tests/consumers/test_student.py: a prompt is read once for its eight completions,
  and groups without variance in their reward, whose gradient is nought, are not run through.
- Learning rate: swept for each arm on a validation split before the first seed. Trainings of their
  own (`sweeps` of each arm at each of `rates`) are tested on items of their own; the rate with most
  items right on all three tests together is taken, of equal ones the lower. Format-only is trained
  at the rate of the one-shot arm, whose rows it has.
- Arms: the untrained student; one-shot; agentic; format-only, on the one-shot rows, whose reward is
  1 for any final answer that can be read. A completion that is cut off earns 0 in all of them.
- Tests, drawn anew for every seed: one-shot (a fresh generator at the dial of each one-shot row in
  turn), agentic (likewise of each agentic row), neutral (each family at dials 0 to 3 in turn). No
  item repeats a row of either arm, not even with the same words and numbers in another order.
- Evaluation: one greedy answer of at most 64 tokens, as at the gate but for its temperature:
  for the same processor time more items tell more than more answers to each.
- The end: when the difference agentic − one-shot is known within ±3 points on the one-shot and on
  the agentic test, or when 6 hours of two cores are spent.
"""

import argparse
import json
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import takewhile
from math import sqrt
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any, NamedTuple

from results import report, shown

from autodata.ledger.ledger import Ledger
from autodata.prompt_store.prompt import locked
from autodata.tasks.measurement import Interval, bootstrap, student_quantile, wilson
from autodata.tasks.procedural import challenge, compare
from autodata.tasks.task import Unreadable
from autodata.tasks.types import Candidate, Objection

ARMS = ("base", "one-shot", "agentic", "format-only")
TESTS = ("one-shot", "agentic", "neutral")
SWEPT = {"one-shot": "one-shot", "agentic": "agentic", "format-only": "one-shot"}  # by whose rate
SWEEP = 900  # the first seed of the sweep, whose trainings and draws are not those of the result
CHECKPOINT = 5  # steps after which a training is kept; a killed one repeats at most these


@dataclass(frozen=True)
class StudentSettings:
    """Fixed before the first seed. `hours` are of two cores; `reach` is half an interval, 0 … 1."""

    families: tuple[str, ...] = ("sums", "products", "passage", "largest", "letters", "alphabet")
    steps: int = 20
    prompts: int = 4  # of a step
    completions: int = 8  # of a prompt
    trained_tokens: int = 16
    temperature: float = 1.0  # of training
    rates: tuple[float, ...] = (3e-6, 1e-5, 3e-5)  # learning rates that each arm is tried at
    sweeps: int = 2  # trainings of an arm at a rate
    items: int = 100  # of a test
    neutral_dials: tuple[int, ...] = (0, 1, 2, 3)
    tested_tokens: int = 64
    reach: float = 0.03
    hours: float = 6.0

    @property
    def budget(self) -> float:
        """Seconds of processor time in all."""
        return self.hours * 3600 * 2


SETTINGS = StudentSettings()


# Rows and tests


class Item(NamedTuple):
    """An item, and the dial at which it was made."""

    candidate: Candidate
    dial: int


def training_rows(runs: Sequence[Path], families: Sequence[str]) -> dict[str, list[Item]]:
    """The rows of both arms, equally many: row n of one is of the same document as row n of the
    other."""
    rows: dict[str, list[Item]] = {"one-shot": [], "agentic": []}
    for run in runs:
        with Ledger.open(run, create=False) as ledger:
            name = ledger.run().id
            for document in ledger.document_ids():
                rounds = ledger.rounds(name, document)
                taken = [round.candidate for round in rounds if round.decision == "accepted"]
                if not taken or not taken[0] or taken[0].question_type not in families:
                    continue
                pair = {"one-shot": rounds[0].candidate, "agentic": taken[0]}
                if all(pair[arm] not in [row.candidate for row in rows[arm]] for arm in rows):
                    for arm, candidate in pair.items():
                        rows[arm].append(Item(candidate, int(candidate.angle.split()[1])))
    return rows


def fresh_tests(
    rows: Mapping[str, Sequence[Item]], seed: int, settings: StudentSettings
) -> dict[str, list[Item]]:
    """The tests of a seed: no item twice in a test, none that a row of either arm resembles.

    Raises ValueError when a test would have to repeat items.
    """
    trained = {_alike(row.candidate) for arm in rows.values() for row in arm}
    places = {arm: [(row.candidate.question_type, row.dial) for row in rows[arm]] for arm in rows}
    places["neutral"] = [(f, d) for d in settings.neutral_dials for f in settings.families]
    return {
        test: _drawn(places[test], trained, 1_000_000 * (seed + 1) + 100_000 * number, settings)
        for number, test in enumerate(TESTS)
    }


def _drawn(
    places: Sequence[tuple[str, int]], trained: set[Any], start: int, settings: StudentSettings
) -> list[Item]:
    found: list[Item] = []
    seen, full = set(trained), set(places)
    order = list(places)
    Random(start).shuffle(order)
    at = start
    while len(found) < settings.items:
        if not full:
            raise ValueError(f"there are only {len(found)} different items to test with")
        for family, dial in order:
            for _ in range(50):
                at += 1
                drawn = challenge(f"family: {family}\nsetting: {dial}\nseed: {at}\n", ())
                assert not isinstance(drawn, Objection)
                if _alike(drawn) not in trained and (drawn.context, drawn.question) not in seen:
                    seen.add((drawn.context, drawn.question))
                    found.append(Item(drawn, dial))
                    break
            else:
                full.discard((family, dial))
            if len(found) == settings.items:
                break
    return found


def _alike(candidate: Candidate) -> tuple[str, ...]:
    """The same for items of the same words and numbers, in whatever order."""
    text = f"{candidate.context} {candidate.question}".replace("?", " ").replace(",", " ")
    return candidate.question_type, *sorted(text.split())


# What an answer is worth


class Marked(NamedTuple):
    """An answer: right, and of a form in which a final answer can be read."""

    right: bool
    formed: bool


def mark(answer: str, whole: bool, candidate: Candidate) -> Marked:
    """As the gate marks an attempt: one that is cut off, not `whole`, has failed by its form."""
    given = compare(answer, candidate) if whole else Unreadable("cut off")
    return Marked(given is True, not isinstance(given, Unreadable))


def reward(arm: str, marked: Marked) -> float:
    return float(marked.formed if arm == "format-only" else marked.right)


def messages(candidate: Candidate) -> list[dict[str, str]]:
    """What a solver is asked at the gate, word for word."""
    rendered = locked("procedural", "solver").render(
        context=candidate.context, question=candidate.question
    )
    return [{"role": message.role, "content": message.content} for message in rendered]


# Pieces on disk


class Piece(NamedTuple):
    """A part of the experiment that is finished or not; those of the sweep name their rate."""

    kind: str  # train, test
    seed: int
    arm: str
    rate: float = 0.0  # 0 is the one that the sweep chose

    @property
    def name(self) -> str:
        return f"seed-{self.seed}-{self.arm}" + (f"-{self.rate:.0e}" if self.rate else "")

    def path(self, state: Path) -> Path:
        return state / f"{self.name}-{self.kind}.json"

    def weights(self, state: Path) -> Path:
        return state / f"{self.name}.pt"


def pieces(settings: StudentSettings) -> Iterator[Piece]:
    """All of them, the sweep first and then one seed after the other, without end."""
    for seed in range(SWEEP, SWEEP + settings.sweeps):
        for rate in settings.rates:
            for arm in sorted({*SWEPT.values()}):
                yield Piece("train", seed, arm, rate)
                yield Piece("test", seed, arm, rate)
    seed = 0
    while True:
        for arm in ARMS:
            if arm != "base":
                yield Piece("train", seed, arm)
            yield Piece("test", seed, arm)
        seed += 1


@contextmanager
def next_piece(state: Path, settings: StudentSettings) -> Iterator[Piece | None]:
    """What is to be done next, held against other processes meanwhile; None when it is enough."""
    for piece in pieces(settings):
        if piece.path(state).exists() or not _ready(state, piece, settings):
            continue
        if piece.seed > 0 and piece.arm == ARMS[0] and enough(state, settings):
            break
        with open(piece.path(state).with_suffix(".lock"), "w") as lock:
            try:
                flock(lock, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                continue  # another process is at it
            if not piece.path(state).exists():
                yield piece
                return
    yield None


def _ready(state: Path, piece: Piece, settings: StudentSettings) -> bool:
    if piece.arm == ARMS[0]:
        return True
    if piece.kind == "test":
        return piece._replace(kind="train").path(state).exists()
    return piece.rate > 0 or bool(chosen_rates(state, settings))


def sweep(state: Path, settings: StudentSettings) -> dict[str, dict[float, list[float]]]:
    """By arm and rate, what each item of the finished tests of the sweep was worth."""
    found: dict[str, dict[float, list[float]]] = {}
    for piece in _of_sweep(settings):
        if piece.kind == "test" and piece.path(state).exists():
            told = json.loads(piece.path(state).read_text())
            values = found.setdefault(piece.arm, {}).setdefault(piece.rate, [])
            values.extend(value for test in TESTS for value in right(told[test]))
    return found


def _of_sweep(settings: StudentSettings) -> Iterator[Piece]:
    return takewhile(lambda piece: piece.rate > 0, pieces(settings))


def chosen_rates(state: Path, settings: StudentSettings) -> dict[str, float]:
    """The learning rate of each arm; none before the whole sweep is finished."""
    if not all(piece.path(state).exists() for piece in _of_sweep(settings)):
        return {}
    found = sweep(state, settings)
    best = {
        arm: max(sorted(rates), key=lambda rate: fmean(rates[rate])) for arm, rates in found.items()
    }
    return {arm: best[like] for arm, like in SWEPT.items()}


def enough(state: Path, settings: StudentSettings) -> bool:
    """Whether the difference is known well enough, or the processor time is spent."""
    if spent(state) >= settings.budget:
        return True
    if not (found := results(state)):
        return False
    told = [difference(found, test, "one-shot", "agentic") for test in ("one-shot", "agentic")]
    return all((high - low) / 2 < settings.reach for _, (low, high) in told)


def spent(state: Path) -> float:
    """Seconds of processor time that the finished pieces took."""
    return sum(json.loads(path.read_text())["cpu_seconds"] for path in state.glob("seed-*-*.json"))


def write(path: Path, content: Any) -> None:
    """Whole or not at all."""
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def read_rows(state: Path) -> dict[str, list[Item]]:
    kept = json.loads((state / "rows.json").read_text(encoding="utf-8"))
    return {
        arm: [Item(Candidate.model_validate(row["item"]), row["dial"]) for row in kept["rows"][arm]]
        for arm in kept["rows"]
    }


def write_rows(state: Path, runs: Sequence[Path], settings: StudentSettings) -> None:
    """Begins a state: its settings and its rows. Refuses to change those of another."""
    if (state / "rows.json").exists():
        raise SystemExit(f"{state} has its rows already: go on with `run`, or name a new folder")
    state.mkdir(parents=True, exist_ok=True)
    rows = training_rows(runs, settings.families)
    if not rows["agentic"]:
        raise SystemExit("these runs accepted no example of the families that are trained on")
    told = {
        arm: [{"dial": dial, "item": item.model_dump(mode="json")} for item, dial in found]
        for arm, found in rows.items()
    }
    write(state / "rows.json", {"settings": asdict(settings), "rows": told})
    print(f"{len(rows['agentic'])} rows an arm, of {len(runs)} runs")


def check_settings(state: Path, settings: StudentSettings) -> None:
    """Refuses to go on under other settings than a state was begun with."""
    path = state / "rows.json"
    if not path.exists():
        raise SystemExit(f"{state} has no rows yet: `real_student.py rows {state} RUN...`")
    kept = json.loads(path.read_text(encoding="utf-8"))["settings"]
    if kept != json.loads(json.dumps(asdict(settings))):
        raise SystemExit(f"{state} was begun with other settings; name a new folder for these")


# The table


def results(state: Path) -> dict[int, dict[str, Any]]:
    """What was tested, by seed and arm; seeds that are not finished are left out."""
    found: dict[int, dict[str, Any]] = {}
    for seed in range(len(list(state.glob("seed-*-base-test.json")))):
        paths = {arm: Piece("test", seed, arm).path(state) for arm in ARMS}
        if all(path.exists() for path in paths.values()):
            found[seed] = {arm: json.loads(path.read_text()) for arm, path in paths.items()}
    return found


def right(answers: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float(answer["right"]) for answer in answers]


def share(by_seed: Sequence[Sequence[float]]) -> tuple[float, Interval]:
    """A mean of 0 and 1, and its interval: of items (each a document of its own), and where there
    are several seeds the wider of that and Student's t of the seeds, which are trained and tested
    anew."""
    values = [value for seed in by_seed for value in seed]
    return fmean(values), _wider(wilson(sum(values), len(values)), by_seed, 0.0)


def difference(
    found: Mapping[int, Mapping[str, Any]], test: str, first: str, second: str
) -> tuple[float, Interval]:
    """Second − first on the same items, and its interval likewise."""
    by_seed = [
        [b - a for a, b in zip(right(arms[first][test]), right(arms[second][test]), strict=True)]
        for arms in found.values()
    ]
    values = [value for seed in by_seed for value in seed]
    return fmean(values), _wider(bootstrap(values, fmean), by_seed, -1.0)


def _wider(of_items: Interval, by_seed: Sequence[Sequence[float]], least: float) -> Interval:
    means = [fmean(seed) for seed in by_seed]
    if len(means) < 2:
        return of_items
    half = student_quantile(len(means) - 1) * stdev(means) / sqrt(len(means))
    low, high = max(fmean(means) - half, least), min(fmean(means) + half, 1.0)
    return Interval(min(low, of_items.low), max(high, of_items.high))


def _shown(value: float, interval: Interval, plus: str = "") -> str:
    return f"{value:{plus}.2f} ({interval.low:{plus}.2f} to {interval.high:{plus}.2f})"


def table(found: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each arm and difference, a column for each test."""
    rows: list[dict[str, Any]] = []
    for arm in ARMS:
        tested = [arms[arm] for arms in found.values()]
        row: dict[str, Any] = {"arm": arm}
        for test in TESTS:
            row[test] = _shown(*share([right(seed[test]) for seed in tested]))
        formless = [[float(not a["formed"]) for t in TESTS for a in seed[t]] for seed in tested]
        rows.append(row | {"no answer read": _shown(*share(formless))})
    pairs = (("one-shot", "agentic"), ("base", "one-shot"), ("base", "agentic"))
    for first, second in (*pairs, ("base", "format-only"), ("format-only", "agentic")):
        row = {"arm": f"{second} − {first}"}
        for test in TESTS:
            row[test] = _shown(*difference(found, test, first, second), plus="+")
        rows.append(row | {"no answer read": ""})
    return rows


def families(found: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The neutral test by family and dial: items right of those asked, all seeds together."""
    cells: dict[tuple[str, int], dict[str, list[bool]]] = {}
    for arms in found.values():
        for arm in ARMS:
            for answer in arms[arm]["neutral"]:
                cell = cells.setdefault((answer["family"], answer["dial"]), {})
                cell.setdefault(arm, []).append(answer["right"])
    return [
        {"family": family, "dial": dial}
        | {arm: f"{sum(cell[arm])} of {len(cell[arm])}" for arm in ARMS}
        for (family, dial), cell in sorted(cells.items())
    ]


def trainings(state: Path, seeds: int) -> list[dict[str, Any]]:
    """What the trainings of each arm were like, all seeds together; these carry no interval."""
    rows = []
    for arm in ARMS[1:]:
        kept = [json.loads(Piece("train", s, arm).path(state).read_text()) for s in range(seeds)]
        steps = [seed["log"] for seed in kept]
        first = [step["reward"] for log in steps for step in log[:5]]
        last = [step["reward"] for log in steps for step in log[-5:]]
        even = [step["without_variance"] for log in steps for step in log]
        seconds = [seed["cpu_seconds"] / len(seed["log"]) for seed in kept]
        rows.append(
            {
                "arm": arm,
                "reward, first 5 steps": fmean(first),
                "reward, last 5": fmean(last),
                "groups without variance": fmean(even),
                "CPU seconds a step": fmean(seconds),
            }
        )
    return rows


def swept(state: Path, settings: StudentSettings) -> list[dict[str, Any]]:
    """The sweep: what each arm had right at each rate, over all items of the validation split."""
    taken = chosen_rates(state, settings)
    return [
        {
            "arm": arm,
            "learning rate": f"{rate:.0e}",
            "right": _shown(fmean(values), wilson(sum(values), len(values))),
            "taken": "yes" if taken.get(arm) == rate else "",
        }
        for arm, rates in sweep(state, settings).items()
        for rate, values in sorted(rates.items())
    ]


def show(state: Path) -> None:
    check_settings(state, SETTINGS)
    found = results(state)
    if not found:
        done = ", ".join(sorted(path.stem for path in state.glob("seed-*-*.json"))) or "nothing"
        raise SystemExit(f"no seed is finished yet (done: {done}): go on with `run`")
    title = f"SmolLM2-135M-Instruct, {len(found)} seeds, {spent(state) / 3600:.1f} CPU hours"
    more = {
        "rates": swept(state, SETTINGS),
        "families": families(found),
        "trainings": trainings(state, len(found)),
    }
    report("real_student", title, table(found), settings=asdict(SETTINGS), **more)
    for rows in (table(found), *more.values()):
        print(f"\n{markdown(rows)}")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a page has them."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([shown(row[c]) for c in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# Training and testing; torch is imported here alone


def work(state: Path, settings: StudentSettings, model: Path | None) -> None:
    """Piece after piece until it is enough. Several processes may work at one state."""
    check_settings(state, settings)
    student, rows = _student(model), read_rows(state)
    while True:
        with next_piece(state, settings) as piece:
            if piece is None:
                return
            if piece.kind == "train":
                rate = piece.rate or chosen_rates(state, settings)[piece.arm]
                told = student.train(state, piece, rows, settings, rate)
            else:
                told = student.test(state, piece, rows, settings)
            write(piece.path(state), told)
        if piece.kind == "test":
            piece.weights(state).unlink(missing_ok=True)
        print(f"{piece.kind} {piece.name}: done, {spent(state):.0f} CPU s in all", flush=True)


def _student(model: Path | None) -> Any:
    from real_student_model import Student

    from autodata.commands.models import cache

    return Student.of(model or next(cache().glob("SmolLM2-135M-Instruct*.gguf")))


def cpu_seconds() -> float:
    """Seconds of processor time that this process has taken."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("rows", "run", "table"):
        command = commands.add_parser(name)
        command.add_argument("state", type=Path)
        if name == "rows":
            command.add_argument("runs", type=Path, nargs="+")
        if name == "run":
            command.add_argument("--model", type=Path, help="the GGUF file; fetched ones are found")
    given = parser.parse_args()
    if given.command == "rows":
        write_rows(given.state, given.runs, SETTINGS)
    elif given.command == "run":
        work(given.state, SETTINGS, given.model)
    else:
        show(given.state)


if __name__ == "__main__":
    main()

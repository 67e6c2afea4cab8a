"""Whether a pilot foretells the rest, and names what limits a run.

    python benchmarks/plan.py forecast   # pilots of 8 of 60 documents, 20 times; three minutes
    python benchmarks/plan.py limits     # worlds with a limit of which we know; ten minutes

`forecast` is about one finished run over 60 invented documents, the simulated models asked for
everything: of 8 documents drawn anew from it, as `autodata plan` reads a pilot, what do they say of
the other 52, and is it so? `limits` is about worlds that are made so that one thing limits them, or
none: a challenger that pays no heed to its prompt, a judge that errs, two solvers that are equally
able, documents of a few sentences on what everybody knows, too few tokens for the strong side; and
apart from these twelve a strong side that lapses every other time, and files whose first passage is
poor and the second is not. What does `autodata plan --ceiling` say of each? Shares come with their
Wilson intervals.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from measured_runs import autodata, write_documents
from results import report

from autodata.ledger.ledger import Ledger
from autodata.ledger.measurements import pilot_documents
from autodata.simulation.messages import listed
from autodata.simulation.scenario import area, is_famous, is_special, study
from autodata.tasks import TASKS
from autodata.tasks.forecast import Forecast, Outset, PilotDocument, Predicted, forecast
from autodata.tasks.measurement import in_percent, wilson
from autodata.tasks.types import Document
from tests.invented import invented

DOCUMENTS, PILOT, SEEDS = 60, 8, 20
TRIED = 12  # documents of each world, all of them its pilot
FIGURES = ("gap", "reachable", "reachable_best", "best_adds", "room", "disagreement",
           "challenger", "passages", "documents")  # fmt: skip


def foretold(task: str, documents: int, pilot: int, seeds: int) -> list[dict[str, Any]]:
    """How often what the others gave and took lay where pilots had said."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        autodata("run", write_documents(Path(place) / "documents", documents), "--task", task,
                 "--out", folder)  # fmt: skip
        with Ledger.open(folder, create=False) as ledger:
            found = list(pilot_documents(ledger, ledger.run().id).values())
    rounds = TASKS[task].rounds
    within, wide = dict[str, int](), dict[str, list[float]]()
    for seed in range(seeds):
        drawn = random.Random(seed).sample(found, len(found))
        said = forecast(drawn[:pilot], Outset(len(found) - pilot, None, rounds, 8))
        for name, at, came in _checked(said, drawn[pilot:]):
            within[name] = within.get(name, 0) + (at.low <= came <= at.high)
            wide.setdefault(name, []).append((at.high - at.low) / max(at.value, 1))
    accepted = sum(one.accepted for one in found)
    return [
        {
            "what": name,
            "of the run": f"{task}, {accepted} of {len(found)} accepted",
            "inside": f"{hits} of {seeds}",
            "coverage": f"{100 * hits / seeds:.0f} % ({in_percent(wilson(hits, seeds))})",
            "width of its value": sum(wide[name]) / seeds,
        }
        for name, hits in within.items()
    ]


def _checked(said: Forecast, others: Sequence[PilotDocument]) -> list[tuple[str, Predicted, float]]:
    """What was said of the others, and how it came."""
    checked = [("examples", said.examples, float(sum(one.accepted for one in others)))]
    for kind in ("rounds", "calls", "tokens"):
        came = float(sum(getattr(one, kind) for one in others))
        checked.append((kind, said.costs[kind], came))  # type: ignore[index]
    return checked


ROLES = {
    "challenger": "simulated",
    "weak_solver": "simulated-weak",
    "strong_solver": "simulated-strong",
    "judge": "simulated",
}
SHORT = 2  # paragraphs of a short document
TIMES = 6  # that a short document's matter is told to be as long as another document
PASSAGE = 1100  # tokens: about half of a document of two halves
NOTHING = "nothing found"


class World(NamedTuple):
    """A world whose limit is known: who plays which role, tokens of the strong side, documents.

    `before` each document stands another half, which is the passage that a run takes: one of a
    `short` document's matter, over and over, or another document (`long`).
    """

    name: str
    limit: str
    models: Mapping[str, str] = {}
    strong_tokens: int | None = None
    short: bool = False
    before: str = ""


WORLDS = (
    World("careless challenger", "challenger", {"challenger": "simulated-careless"}),
    World("noisy judge", "judge noise", {"judge": "simulated-noisy"}),
    World("equal solvers, weak", "the gap between the models",
          {"strong_solver": "simulated-weak"}),
    World("short documents", "documents", short=True),
    World("few tokens", "elicitation", strong_tokens=60),
    World("honest", NOTHING),
    World("careless challenger, other documents", "challenger",
          {"challenger": "simulated-careless"}),
    World("noisy judge, other documents", "judge noise", {"judge": "simulated-noisy"}),
    World("equal solvers, strong", "the gap between the models",
          {"weak_solver": "simulated-strong"}),
    World("short documents, others", "documents", short=True),
    World("some tokens", "elicitation", strong_tokens=120),
    World("honest, other documents", NOTHING),
)  # fmt: skip
MORE_WORLDS = (
    World("uneven strong solver", "elicitation", {"strong_solver": "simulated-uneven"}),
    World("short first passages", "documents", before="short"),
    World("honest, long documents", NOTHING, before="long"),
    World("uneven strong solver, other documents", "elicitation",
          {"strong_solver": "simulated-uneven"}),
    World("short first passages, others", "documents", before="short"),
    World("honest, other long documents", NOTHING, before="long"),
)  # fmt: skip


def _short_ones(seed: int, times: int = 1) -> Iterator[Document]:
    """Documents of a few sentences that hold nothing but what their field knows, as the practice
    models have it: a famous field, and no matter of which only readers of the source know. They
    say so several `times`."""
    for document in invented(100 * TRIED, seed):
        text = "\n\n".join(document.text.split("\n\n")[1 : 1 + SHORT] * times)
        terms = study(text).terms
        field = area(f"This is about {listed(list(terms[:2]))}.")
        if len(terms) > 1 and is_famous(field) and not any(map(is_special, terms)):
            yield Document.of(document.name, text)


def _documents(world: World, seed: int) -> Iterator[Document]:
    """The documents of a world."""
    if not world.before:
        yield from islice(_short_ones(seed) if world.short else invented(TRIED, seed), TRIED)
        return
    first = _short_ones(seed, TIMES) if world.before == "short" else invented(2 * TRIED, seed)
    for document, other in zip(invented(TRIED, -seed), first, strict=False):
        text = f"# Introduction\n\n{other.text}\n\n{document.text}"
        yield Document.of(document.name, text)


def searched(world: World, seed: int, place: Path) -> dict[str, Any]:
    """What `autodata plan --ceiling` says of a world, and whether it is so."""
    documents = place / "documents"
    documents.mkdir()
    for document in _documents(world, seed):
        (documents / document.name).write_text(document.text, encoding="utf-8")
    played: dict[str, dict[str, Any]] = {
        role: {"endpoint": "simulated", "model": world.models.get(role, model)}
        for role, model in ROLES.items()
    }
    if world.strong_tokens:
        played["strong_solver"]["max_tokens"] = world.strong_tokens
    config = place / "autodata.yaml"
    cut = {"run": {"passage_tokens": PASSAGE}} if world.before else {}
    config.write_text(json.dumps({"models": played, **cut}), encoding="utf-8")
    said = json.loads(
        autodata("plan", documents, "--task", "cs", "--pilot", TRIED, "--out", place / "run",
                 "--config", config, "--ceiling", "--challenger", "simulated/simulated", "--json")
    )  # fmt: skip
    found = said["ceiling"]
    return {
        "world": world.name,
        "accepted": f"{said['pilot']['accepted']} of {said['pilot']['documents']}",
        "limit": world.limit,
        "named": found["limit"],
        **{name: _short(found[name]) for name in FIGURES},
        "because": found["because"],
    }


def _short(figure: Mapping[str, float] | None) -> str:
    return f"{figure['value']:.2f} ({figure['low']:.2f}…{figure['high']:.2f})" if figure else ""


def named(worlds: Sequence[World], first: int) -> list[dict[str, Any]]:
    """Every world over documents of its own."""
    rows = []
    for seed, world in enumerate(worlds, first):
        with tempfile.TemporaryDirectory() as place:
            rows.append(searched(world, seed, Path(place)))
            print({k: v for k, v in rows[-1].items() if v}, file=sys.stderr, flush=True)
    _count(rows)
    return rows


def _count(rows: Sequence[Mapping[str, Any]]) -> None:
    wrong = sum(row["named"] not in (row["limit"], "cannot be told") for row in rows)
    untold = sum(row["named"] == "cannot be told" for row in rows)
    n = len(rows)
    print(f"a wrong limit is named in {wrong} of {n} ({in_percent(wilson(wrong, n))} %), "
          f"none can be told in {untold}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["forecast", "limits"])
    parser.add_argument("--tasks", nargs="*", default=["cs", "legal", "science"])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=1, help="seed of the first world's documents")
    asked = parser.parse_args()
    if asked.what == "limits":
        report("plan_limits", "What limits a run", named(WORLDS, asked.first))
        more = named(MORE_WORLDS, asked.first + len(WORLDS))
        report("plan_limits_more", "What limits a run, passages and best attempts", more)
        return
    rows = [row for task in asked.tasks for row in foretold(task, DOCUMENTS, PILOT, asked.seeds)]
    report("plan_forecast", f"Pilots of {PILOT} of {DOCUMENTS} documents", rows)


if __name__ == "__main__":
    main()

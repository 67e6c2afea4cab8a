"""A whole optimization on simulated models, small enough for a test: all other parts are real."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autodata.graph.state import RunChoices
from autodata.ledger.calls import CallLog
from autodata.ledger.ledger import FILE, Ledger
from autodata.ledger.rows import RunRow
from autodata.models.budget import Budget
from autodata.models.client import Models
from autodata.models.config import SIMULATED, EndpointConfig, ModelConfig
from autodata.optimizer.evaluator import Evaluator
from autodata.optimizer.guard import Sources
from autodata.optimizer.population import OptimizationContext, Population
from autodata.optimizer.state import Plan
from autodata.prompt_store.prompt import locked_revision
from autodata.prompt_store.store import Store
from autodata.simulation.transport import SimulatedTransport
from tests.invented import invented

RUN = "climb"


@contextmanager
def optimization_context(
    folder: Path,
    *,
    training: int = 6,
    validation: int = 5,
    test: int = 0,
    rounds: int = 2,
    seed: int = 0,
    editor: str = "simulated",
    calls: int | None = None,
    url: str = "",
    analyst_url: str = "",
    **choices: Any,
) -> Iterator[OptimizationContext]:
    """The context of an optimization in this folder, begun or gone on with.

    With a `url` the simulated models are asked over HTTP; with an `analyst_url` that endpoint's
    model `m` is the analyst.
    """
    documents = list(invented(training + validation + test, seed))
    ids = [d.id for d in documents]
    plan = Plan(
        training=ids[:training],
        validation=ids[training : training + validation],
        test=ids[training + validation :],
        seed=seed,
        **{"minibatch": 3, "iterations": 3, **choices},
    )
    place = folder / "prompts"
    store = Store.open(place) if (place / ".git/HEAD").exists() else Store.init(place)
    log = CallLog(folder / FILE)
    with Ledger.open(folder) as ledger:
        ledger.add_documents(documents)
        if not ledger.runs():
            ledger.start_run(
                RunRow(
                    id=RUN,
                    kind="optimization",
                    task="cs",
                    prompts_revision=store.resolve("main"),
                    locked_revision=locked_revision("cs"),
                    seed=seed,
                    simulated=True,
                )
            )
        budget = Budget(calls=calls)
        models = Models(
            log=log,
            endpoints={
                name: EndpointConfig(base_url=place)
                for name, place in (("local", url), ("analyst", analyst_url))
                if place
            },
            models=_models(editor, "local" if url else "simulated", bool(analyst_url)),
            budget=budget,
            seed=seed,
            transports={SIMULATED: SimulatedTransport()},
        )
        evaluator = Evaluator(
            run=ledger.run(RUN),
            task="cs",
            choices=RunChoices(rounds=rounds),
            models=models,
            ledger=ledger,
            log=log,
            in_flight=4,
            score=plan.score,
        )
        context = OptimizationContext(
            plan=plan,
            evaluator=evaluator,
            population=Population(plan, evaluator, store),
            folder=folder,
            sources=Sources.of(d.text for d in documents),
        )
        try:
            yield context
        finally:
            evaluator.comparisons.close()
            log.close()


def _models(editor: str, endpoint: str, scripted_analyst: bool) -> dict[str, ModelConfig]:
    """Every role simulated, the editor by name; in this process or at an endpoint."""
    simulated = {
        "challenger": "simulated",
        "weak_solver": "simulated-weak",
        "strong_solver": "simulated-strong",
        "editor": editor,
    }
    models = {r: ModelConfig(endpoint=endpoint, model=model) for r, model in simulated.items()}
    analyst = {"analyst": ModelConfig(endpoint="analyst", model="m")}
    return {**models, **(analyst if scripted_analyst else {})}

"""What a configuration opens."""

from pathlib import Path

from autodata.assembly import BATCHED_DOCUMENTS, documents_in_flight, open_run_context
from autodata.models.batches import BatchTransport
from autodata.prompt_store.prompt import packaged
from autodata.run_folder import RunFolder
from autodata.settings import Settings

SOLVER = {"endpoint": "vllm", "model": "small"}
WRITER = {"endpoint": "hosted", "model": "large"}
SETTINGS = {
    "endpoints": {
        "vllm": {"base_url": "http://127.0.0.1:9/v1", "batch": False},
        "hosted": {"base_url": "http://127.0.0.1:9/v1"},
    },
    "models": {"challenger": WRITER, "weak_solver": SOLVER, "strong_solver": WRITER},
}


async def test_batch_mode_asks_through_the_batch_apis_that_there_are(tmp_path: Path) -> None:
    settings = Settings.model_validate({**SETTINGS, "run": {"batch": True}})
    context = open_run_context(RunFolder(tmp_path), "cs-1", settings, packaged())
    try:
        batched = context.models.registry.endpoint("hosted").transport
        single = context.models.registry.endpoint("vllm").transport
        assert isinstance(batched, BatchTransport)
        assert batched.run == "cs-1"
        assert not isinstance(single, BatchTransport)
        assert documents_in_flight(settings) == BATCHED_DOCUMENTS
    finally:
        await context.aclose()


async def test_without_batch_mode_every_call_goes_alone(tmp_path: Path) -> None:
    settings = Settings.model_validate(SETTINGS)
    context = open_run_context(RunFolder(tmp_path), "cs-1", settings, packaged())
    try:
        assert not isinstance(context.models.registry.endpoint("hosted").transport, BatchTransport)
        assert documents_in_flight(settings) == 64
    finally:
        await context.aclose()

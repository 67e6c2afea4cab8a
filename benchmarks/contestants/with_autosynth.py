"""autosynth: its own complete loop over documents, through LiteLLM and its event store."""

from pathlib import Path

from stopwatch import measure
from workload import document

CALLS_PER_DOCUMENT = 29  # two rounds of four weak and, in both, four strong attempts


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    from autosynth.config import RunConfig
    from autosynth.runner import Runner

    source = folder / "documents"
    source.mkdir()
    number_of_documents = calls // CALLS_PER_DOCUMENT
    for number in range(number_of_documents):
        (source / f"{number}.md").write_text(document(number))
    extra = {"api_base": f"{url}/v1", "api_key": "none"}
    models = {
        role: {"provider_model": f"openai/{name}", "extra": extra} for role, name in ROLES.items()
    }
    config = RunConfig.model_validate(
        {
            "output_dir": str(folder / "outputs"),
            "domain": {"name": "qa_from_documents", "params": {"source_dir": str(source)}},
            "max_examples": number_of_documents,
            "dispatcher": {"concurrency": concurrency, "items_per_advance": concurrency},
            **models,
        }
    )
    summary = Runner(config).run()
    assert summary.accepted == number_of_documents, summary


ROLES = {
    "orchestrator": "careful",
    "challenger": "careful",
    "weak_solver": "weak",
    "strong_solver": "strong",
    "judge": "careful",
}

if __name__ == "__main__":
    measure(run)

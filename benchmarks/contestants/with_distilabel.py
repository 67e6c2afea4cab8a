"""distilabel: a pipeline with one TextGeneration step; its batches bound the concurrency."""

from pathlib import Path

from stopwatch import measure
from workload import SYSTEM, user


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    asked = [{"instruction": user(number)} for number in range(calls)]
    with Pipeline(name="calls", cache_dir=folder) as pipeline:
        load = LoadDataFromDicts(data=asked, batch_size=concurrency)
        llm = OpenAILLM(model="m", base_url=f"{url}/v1", api_key="none")
        answer = TextGeneration(llm=llm, system_prompt=SYSTEM, input_batch_size=concurrency)
        load >> answer
    made = pipeline.run(use_cache=False)
    assert len(made["default"]["train"]) == calls


if __name__ == "__main__":
    measure(run)

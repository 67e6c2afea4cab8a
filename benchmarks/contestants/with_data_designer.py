"""data-designer: one text column over a table of prompts."""

from pathlib import Path

from stopwatch import measure
from workload import SYSTEM, user


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    import data_designer.config as dd
    import pandas as pd
    from data_designer.interface import DataDesigner

    provider = dd.ModelProvider(name="local", endpoint=f"{url}/v1", api_key="none")
    designer = DataDesigner(artifact_path=folder / "artifacts", model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    limits = dd.ChatCompletionInferenceParams(max_parallel_requests=concurrency)
    model = dd.ModelConfig(
        alias="plain",
        model="m",
        provider="local",
        inference_parameters=limits,
        skip_health_check=True,
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    prompts = pd.DataFrame({"asked": [user(number) for number in range(calls)]})
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=prompts))
    column = dd.LLMTextColumnConfig(
        name="answer", prompt="{{ asked }}", system_prompt=SYSTEM, model_alias="plain"
    )
    builder.add_column(column)
    made = designer.create(builder, num_records=calls)
    assert len(made.load_dataset()) == calls


if __name__ == "__main__":
    measure(run)

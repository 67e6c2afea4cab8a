"""bespokelabs-curator: one `curator.LLM` over a list of prompts, without cache and telemetry."""

import os
from importlib.util import find_spec
from pathlib import Path

from stopwatch import measure
from workload import SYSTEM, user

NO_LIMIT = 10**9  # per minute: only the concurrency binds


def run(url: str, calls: int, concurrency: int, folder: Path) -> None:
    litellm = find_spec("litellm")
    assert litellm is not None
    assert litellm.origin is not None
    tokenizers = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)  # the vocabulary, without a download

    from bespokelabs import curator

    llm = curator.LLM(
        model_name="m",
        backend="openai",
        system_prompt=SYSTEM,
        backend_params={
            "base_url": f"{url}/v1",
            "api_key": "none",
            "max_requests_per_minute": NO_LIMIT,
            "max_tokens_per_minute": NO_LIMIT,
            "max_concurrent_requests": concurrency,
        },
    )
    given = [user(number) for number in range(calls)]
    answers = llm(given, working_dir=str(folder))
    assert len(answers.dataset) == calls


if __name__ == "__main__":
    measure(run)

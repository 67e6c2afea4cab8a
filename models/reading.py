"""What a model's message says: the answer apart from the reasoning, and what it took."""

import re
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage

from autodata.models.errors import WireError
from autodata.models.structured import clean
from autodata.models.tool_calls import with_calls

_THINKING = re.compile(r"\s*<think(?:ing)?>")
_THOUGHT = re.compile(r"</think(?:ing)?>")


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer; token counts are None where the endpoint did not state them."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoned: bool = False  # whether hidden reasoning came before the answer

    @property
    def cut_off(self) -> bool:
        """Ended by the token limit, or by reasoning that never came to an answer."""
        return self.finish_reason == "length" or (not self.text and self.reasoned)

    def check(self) -> None:
        """Raises WireError for silence: a model that says nothing at all is unwell."""
        if not self.text and not self.cut_off:
            raise WireError(f"an empty reply (finish_reason {self.finish_reason!r})", status=200)


def read(message: AIMessage) -> Reading:
    """The message taken apart, free of lone surrogates; calls of tools become text."""
    hidden = message.additional_kwargs
    thought, text = split_thinking(clean(message.text))
    text = clean(with_calls(text, message))
    usage: Any = message.usage_metadata or {}
    reasoning_tokens = usage.get("output_token_details", {}).get("reasoning") or 0
    reasoning = clean(str(hidden.get("reasoning_content") or thought))
    return Reading(
        text=text or clean(str(hidden.get("refusal") or "")),
        reasoning=reasoning,
        finish_reason=str(message.response_metadata.get("finish_reason") or ""),
        input_tokens=usage.get("input_tokens"),
        cached_tokens=usage.get("input_token_details", {}).get("cache_read"),
        output_tokens=usage.get("output_tokens"),
        reasoned=bool(reasoning or reasoning_tokens),
    )


def split_thinking(text: str) -> tuple[str, str]:
    """Reasoning and answer of a reply whose endpoint left the reasoning in, between tags.

    The opening tag may be missing (chat templates that end in it) and so may the closing one (cut
    off while thinking). Tags further inside an answer are part of it.
    """
    begins = _THINKING.match(text)
    ends = list(_THOUGHT.finditer(text))
    if ends and (begins or "<think" not in text):
        return text[begins.end() if begins else 0 : ends[-1].start()], text[
            ends[-1].end() :
        ].strip()
    return (text[begins.end() :], "") if begins else ("", text)

"""Tool calls as text, so that the call log keeps and replays them like any other reply."""

import json
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage

KEYS = {"content", "tool_calls"}


def with_calls(text: str, message: AIMessage) -> str:
    """A reply in one text: its words, or JSON when the message calls tools besides.

    A call whose arguments are no JSON becomes a call with the argument `malformed`, so that the
    tool's own complaint tells the model.
    """
    calls = [{"name": c["name"], "args": c["args"], "id": c["id"]} for c in message.tool_calls]
    calls += [
        {"name": c["name"] or "", "args": {"malformed": c["args"]}, "id": c["id"]}
        for c in message.invalid_tool_calls
    ]
    if not calls:
        return text
    return json.dumps({"content": text, "tool_calls": calls}, ensure_ascii=False)


def decode(text: str) -> AIMessage:
    """The reply that `with_calls` wrote down."""
    try:
        said: Any = json.loads(text) if text.startswith("{") else None
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.keys() != KEYS:
        return AIMessage(text)
    calls = [ToolCall(name=c["name"], args=c["args"], id=c["id"]) for c in said["tool_calls"]]
    return AIMessage(said["content"], tool_calls=calls)


def tool_message(text: str) -> ToolMessage:
    """A tool's result, from the text that `plain` made of it."""
    call_id, _, content = text.partition("\n")
    return ToolMessage(content, tool_call_id=call_id)


def plain(message: BaseMessage) -> dict[str, str]:
    """A message of a conversation as the log keeps it."""
    if isinstance(message, AIMessage):
        return {"role": "assistant", "content": with_calls(message.text, message)}
    if isinstance(message, ToolMessage):
        return {"role": "tool", "content": f"{message.tool_call_id}\n{message.text}"}
    return {"role": "system" if message.type == "system" else "user", "content": message.text}

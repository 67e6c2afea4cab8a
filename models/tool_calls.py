"""Tool calls as text, so that the call log keeps and replays them like any other reply."""

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage

KEYS = {"content", "tool_calls"}


def decode(text: str) -> AIMessage:
    """The reply as LangChain's message, with the tool calls that its text holds."""
    said = _parsed(text)
    if said is None:
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
        return {"role": "assistant", "content": _encode(message)}
    if isinstance(message, ToolMessage):
        return {"role": "tool", "content": f"{message.tool_call_id}\n{message.text}"}
    return {"role": "system" if message.type == "system" else "user", "content": message.text}


def wire(message: Mapping[str, str]) -> dict[str, Any]:
    """A message of the log as an endpoint takes it."""
    if message["role"] == "tool":
        call_id, _, content = message["content"].partition("\n")
        return {"role": "tool", "tool_call_id": call_id, "content": content}
    if message["role"] == "assistant" and (said := _parsed(message["content"])):
        calls = [
            {
                "type": "function",
                "id": c["id"],
                "function": {
                    "name": c["name"],
                    "arguments": json.dumps(c["args"], ensure_ascii=False),
                },
            }
            for c in said["tool_calls"]
        ]
        return {"role": "assistant", "content": said["content"] or None, "tool_calls": calls}
    return {"role": message["role"], "content": message["content"]}


def _encode(message: AIMessage) -> str:
    calls = [{"name": c["name"], "args": c["args"], "id": c["id"]} for c in message.tool_calls]
    if not calls:
        return message.text
    return json.dumps({"content": message.text, "tool_calls": calls}, ensure_ascii=False)


def _parsed(text: str) -> Any:
    """The words and the tool calls that one text holds; None when it is words alone."""
    try:
        said: Any = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.keys() != KEYS or not isinstance(said["content"], str):
        return None
    calls = said["tool_calls"]
    good = isinstance(calls, list) and all(
        isinstance(c, dict)
        and isinstance(c.get("name"), str)
        and isinstance(c.get("args"), dict)
        and isinstance(c.get("id"), str)
        for c in calls
    )
    return said if calls and good else None

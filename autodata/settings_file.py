"""Reads the configuration: one YAML file, then flags. Every fault names its place and a remedy."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from autodata.settings import Settings

DEFAULT_FILE = Path("autodata.yaml")
Key = tuple[str, ...]


class SettingsError(ValueError):
    """A configuration that cannot be used; one line per fault, each with its place."""


@dataclass(frozen=True)
class Override:
    """A flag that sets one key: `source` is what the user typed, such as `--rounds 3`."""

    key: str
    value: Any
    source: str

    @classmethod
    def parse(cls, text: str) -> "Override":
        """From `--set a.b=value`, the value being YAML. Raises SettingsError."""
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise SettingsError(f"--set {text}: write --set key=value, such as run.rounds=6")
        try:
            return cls(key, yaml.safe_load(value), f"--set {text}")
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
            raise SettingsError(f"--set {text}: the value is not YAML") from error


@dataclass
class _Source:
    """The values read so far, and where each came from."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    overrides: dict[Key, str] = field(default_factory=dict)

    def place(self, key: Key) -> str:
        """Where a key was set: the flag, or file and line."""
        for length in range(len(key), 0, -1):
            if flag := self.overrides.get(key[:length]):
                return flag
            if line := self.lines.get(key[:length]):
                return f"{self.name}, line {line}"
            for below, flag in self.overrides.items():
                if below[:length] == key[:length]:
                    return flag
        return self.name


def load(file: Path | None = None, overrides: Sequence[Override] = ()) -> Settings:
    """The settings of a file (by default `autodata.yaml` if there is one) and of flags.

    Raises SettingsError.
    """
    try:
        source = _read(file) if file or DEFAULT_FILE.is_file() else _Source("the configuration")
        for override in overrides:
            _override(source, override)
        return _validated(source)
    except RecursionError as error:
        raise SettingsError(
            f"{file or DEFAULT_FILE}: is nested too deeply, or a part of it contains itself"
        ) from error


def dump(settings: Settings) -> str:
    """The settings as YAML that `load` reads back to equal settings."""
    text: str = yaml.safe_dump(settings.plain(), sort_keys=False, allow_unicode=True)
    return text


def _read(file: Path | None) -> _Source:
    path = file or DEFAULT_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not a text file in UTF-8") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        raise SettingsError(f"{path}{_mark(error)}: not YAML: {_problem(error)}") from error
    if not isinstance(values or {}, dict):
        raise SettingsError(f"{path}: holds no configuration; see autodata.example.yaml")
    source = _Source(str(path), _sections(values or {}), dict(_lines(root)))
    if twice := _twice(root):
        raise SettingsError(f"{source.place(twice)}: {'.'.join(twice)} stands twice")
    return source


def _mark(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or " ".join(str(error).split()))


def _sections(values: dict[str, Any]) -> dict[str, Any]:
    """A section or endpoint that is named and left empty is an empty section."""
    sections = {name: {} if value is None else value for name, value in values.items()}
    if isinstance(sections.get("endpoints"), dict):
        endpoints = sections["endpoints"]
        sections["endpoints"] = {n: {} if c is None else c for n, c in endpoints.items()}
    return sections


def _pairs(node: yaml.Node | None, key: Key = ()) -> Iterator[tuple[Key, yaml.Node]]:
    """Every key of a YAML mapping, at any depth, with the node of its name."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield (*key, str(name.value)), name
            yield from _pairs(value, (*key, str(name.value)))


def _lines(root: yaml.Node | None) -> Iterator[tuple[Key, int]]:
    for key, node in _pairs(root):
        yield key, node.start_mark.line + 1


def _twice(root: yaml.Node | None) -> Key | None:
    seen: set[Key] = set()
    for key, _ in _pairs(root):
        if key in seen:
            return key
        seen.add(key)
    return None


def _override(source: _Source, override: Override) -> None:
    *parents, name = key = tuple(override.key.split("."))
    values = source.values
    for depth, parent in enumerate(parents, 1):
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise SettingsError(
                f"{override.source}: {'.'.join(key[:depth])} is a value, not a section"
            )
    values[name] = override.value
    source.overrides[key] = override.source


def _validated(source: _Source) -> Settings:
    faults = [
        f"{source.place(key)}: {'.'.join(key)} is not a finite number"
        for key, value in _leaves(source.values)
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if faults:
        raise SettingsError("\n".join(faults))
    try:
        return Settings.model_validate(source.values, strict=True)
    except ValidationError as error:
        raise SettingsError("\n".join(_faults(source, error))) from error


def _faults(source: _Source, error: ValidationError) -> Iterator[str]:
    """One line per key that is wrong, with its place."""
    by_key: dict[Key, list[Any]] = {}
    for found in error.errors():
        by_key.setdefault(_key(found["loc"], source.values), []).append(found)
    for key, faults in by_key.items():
        said = " or ".join(_message(fault, key) for fault in faults)
        given = faults[0]["input"]
        if "must be" in said and isinstance(given, bool | int | float):
            said += f", not {str(given).lower()}"
        name = ".".join(key) + (" " if said.startswith(("must", "is ")) else ": ")
        yield f"{source.place(key)}: {name if key else ''}{said}"


def _leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, (*key, str(name)))
    else:
        yield key, value


def _key(loc: Sequence[int | str], values: Any) -> Key:
    """The part of a pydantic location that is a key of ours; unions append their members."""
    key: list[str] = []
    for part in loc:
        if not isinstance(values, Mapping) or (part not in values and part == "[key]"):
            break
        key.append(str(part))
        values = values.get(part)
    return tuple(key)


# Kinds of fault of which pydantic speaks in terms of Python.
_SAID = {
    "missing": "is missing",
    "model_type": "must be a section, such as {key: value}",
    "dict_type": "must be a section, such as {key: value}",
    "string_pattern_mismatch": "must begin with http:// or https://",
}


def _message(found: Any, key: Key) -> str:
    """What is wrong with the key, to be read after its name."""
    if found["type"] == "extra_forbidden":
        return _unknown(key)
    if found["type"] in _SAID:
        return _SAID[found["type"]]
    return str(found["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def _unknown(key: Key) -> str:
    """The nearest known key: the same name elsewhere, else one like it beside it or elsewhere."""
    *parents, name = key
    beside = {known: ".".join([*parents, known]) for known in _known(tuple(parents))}
    others = {known: f"{top}.{known}" for top in Settings.model_fields for known in _known((top,))}
    for known in ({name: others[name]} if name in others else {}, beside, others):
        if near := get_close_matches(name, known, n=1):
            return f"is not a known key; did you mean {known[near[0]]}?"
    return f"is not a known key; known are {', '.join(beside)}"


def _known(key: Key) -> list[str]:
    """The names that may stand below a key."""
    kind: Any = Settings
    for part in key:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        else:
            return []
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
    return list(kind.model_fields) if is_model else []

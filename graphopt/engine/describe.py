"""What is known of a pass without running it: its docstrings, its class variables, its options.

The list and the text of `graphopt passes` and the pages of `pass_page.py` all show this one
description, so that a third party's pass is documented as graphopt's own are.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from graphopt.contract import AnyPass, Effect
from graphopt.engine.options import option_types
from graphopt.engine.registry import PassEntry

REQUIRED = dataclasses.MISSING
"""Stands for the default of an option that has none."""

_SECTION = re.compile(r"^Attributes:\n((?:[ \t].*\n?|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^\s+(\w+)(?: \([^)]*\))?: *(.*)$")
_FIRES = re.compile(r"Fires on:\s*([^.]+)\.")
_SOURCE = re.compile(r"Source:\s*(.*?)(?=\n\s*\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a pass.

    Attributes:
        name: As recipes and the command line spell it.
        type: What it takes, in words.
        default: Its value where nobody sets it; REQUIRED where it has none.
        text: What it means, from the `Attributes:` section; empty where nothing is said.
    """

    name: str
    type: str
    default: Any
    text: str


@dataclass(frozen=True, slots=True)
class Description:
    """A pass in words.

    Attributes:
        entry: Where it comes from.
        effect: The strongest effect that one of its rewrites may have.
        roots: Operators that it looks at; empty for a pass that plans over the whole graph.
        summary: One line, from the class; empty where the class has no docstring.
        module_text: The module's docstring, as it is written; may be empty.
        class_text: What the class says behind its summary, without the lines that the other fields
            hold; may be empty.
        fires_on: Models that its docstring names after `Fires on:`.
        source: What its docstring names after `Source:`; may be empty.
        options: Its dataclass fields.
    """

    entry: PassEntry
    effect: Effect
    roots: tuple[str, ...]
    summary: str
    module_text: str
    class_text: str
    fires_on: tuple[str, ...]
    source: str
    options: tuple[Option, ...]


def describe(entry: PassEntry) -> Description:
    """Describe a pass; its module is imported.

    Raises:
        UsageError: It cannot be imported.
    """
    kind = entry.load()
    text = _class_doc(kind)
    summary, _, rest = text.partition("\n\n")
    section, rest = _cut(_SECTION, rest)
    source, rest = _cut(_SOURCE, rest)
    fires, rest = _cut(_FIRES, rest)
    return Description(
        entry=entry,
        effect=kind.effect,
        roots=tuple(getattr(kind, "roots", ())),
        summary=_joined(summary),
        module_text=inspect.getdoc(sys.modules[entry.module]) or "",
        class_text=rest.strip(),
        fires_on=tuple(name.strip() for name in fires.split(",") if name.strip()),
        source=_joined(source),
        options=tuple(_options(kind, _entries(section))),
    )


def toml_text(value: Any) -> str:
    """An option's value as a recipe spells it: None is the text "none", a tuple a list."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    escaped = ("none" if value is None else str(value)).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def command_text(value: Any) -> str:
    """An option's value as `--pass NAME:option=value` takes it: a tuple's items joined by `+`."""
    if isinstance(value, list | tuple):
        return "+".join(map(command_text, value))
    return toml_text(value).removeprefix('"').removesuffix('"')


def _class_doc(kind: type[AnyPass]) -> str:
    """The class's own docstring; dataclasses make one up where there is none."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return "" if text.startswith(f"{kind.__name__}(") else text


def _cut(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    """What a pattern's group finds, empty where it finds nothing, and the text without it."""
    found = pattern.search(text)
    if found is None:
        return "", text
    return found.group(1), text[: found.start()] + text[found.end() :]


def _joined(text: str) -> str:
    return " ".join(text.split())


def _entries(section: str) -> dict[str, str]:
    """The `name: text` entries of an `Attributes:` section, continuation lines joined."""
    found: dict[str, str] = {}
    name, depth = "", 0
    for line in section.splitlines():
        indent = len(line) - len(line.lstrip())
        entry = _ENTRY.match(line) if not name or indent <= depth else None
        if entry is not None:
            name, depth = entry.group(1), indent
            found[name] = entry.group(2)
        elif name:
            found[name] = _joined(f"{found[name]} {line}")
    return found


def _options(kind: type[AnyPass], texts: dict[str, str]) -> list[Option]:
    wanted = option_types(kind)
    if not dataclasses.is_dataclass(kind):
        return []
    return [
        Option(
            field.name, _type_text(wanted[field.name]), _default(field), texts.get(field.name, "")
        )
        for field in dataclasses.fields(kind)
        if field.init
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _type_text(wanted: Any) -> str:
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Literal:
        return " or ".join(map(toml_text, parts))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type_text, parts))
    if origin is tuple:
        return f"list of {_type_text(parts[0])}"
    if wanted is type(None):
        return '"none"'
    return str(getattr(wanted, "__name__", wanted))

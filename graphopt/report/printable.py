"""Text from models on its way to a terminal or a log: no control characters, no forged lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def printable(text: str) -> str:
    """The text with what does not print (ESC, line breaks, direction marks) written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cleaned(record: T) -> T:
    """A record like the given one, every text in it printable.

    Args:
        record: A dataclass, a mapping, a list or tuple, or a plain value; nested as they come.
    """
    found: Any = record
    if isinstance(record, str):
        found = printable(str(record)) if type(record) is str else record
    elif dataclasses.is_dataclass(record) and not isinstance(record, type):
        fields = (field.name for field in dataclasses.fields(record) if field.init)
        found = dataclasses.replace(record, **{n: cleaned(getattr(record, n)) for n in fields})
    elif isinstance(record, Mapping):
        found = {cleaned(key): cleaned(value) for key, value in record.items()}
    elif isinstance(record, list | tuple):
        found = type(record)(map(cleaned, record))
    return found  # type: ignore[no-any-return]

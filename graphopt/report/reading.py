"""Reading records back from JSON files, which may be old, cut off, of another kind, or hostile."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from graphopt.errors import FileError

T = TypeVar("T")

MOST_BYTES = 64 << 20
"""No report comes near; a larger file is refused unread."""

_WORDS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_SHOWN = 40


def read_record(kind: type[T], path: Path, what: str, version: int) -> T:
    """Read a record from the JSON that its `to_dict` was written as.

    Fields that it does not have are passed over, as later versions may have added them. Fields
    with a default may be missing.

    Args:
        kind: A dataclass with a `schema` field, of dataclasses and plain types.
        path: The file.
        what: What it should be, for errors: "report of graphopt bench".
        version: The `schema` that is understood.

    Raises:
        FileError: It cannot be read, or is no such record; the message names the field.
    """
    data = _loaded(path)
    if not isinstance(data, dict) or "schema" not in data:
        raise FileError(f"is no {what}", file=path)
    try:
        if data["schema"] != version:
            raise _Misfit("schema", f"{_short(data['schema'])}, not {version}: another graphopt's")
        found: T = _record(kind, data, "")
    except _Misfit as misfit:
        raise FileError(f"is no {what}: {misfit.field} {misfit.problem}", file=path) from None
    return found


class _Misfit(Exception):
    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem


def _loaded(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FileError(f"cannot be read: {error.strerror}", file=path) from error
    if len(raw) > MOST_BYTES:
        raise FileError(f"is larger than {MOST_BYTES:,} bytes", file=path)
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_constant=_refused)
    except RecursionError:
        raise FileError("is nested too deeply", file=path) from None
    except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else _not_json(error)
        raise FileError(reason, file=path) from None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _not_json(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} at line {error.lineno}"
    return f"is not JSON: {str(error).partition(':')[0]}"


def _record(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _Misfit(where, f"is {_short(data)}, not an object")
    found = {}
    for field, hint in _fields(kind):
        place = f"{where}.{field.name}" if where else field.name
        if field.name in data:
            found[field.name] = _value(hint, data[field.name], place)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _Misfit(place, "is missing")
    return kind(**found)


@functools.cache
def _fields(kind: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind)]


def _value(hint: Any, data: Any, where: str) -> Any:
    """The data as what the annotation says."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # in these records: something or None
        (some,) = (choice for choice in arguments if choice is not types.NoneType)
        return None if data is None else _value(some, data, where)
    if origin is typing.Literal:
        if not isinstance(data, str) or data not in arguments:
            raise _Misfit(where, f"is {_short(data)}, not one of {', '.join(arguments)}")
        return data
    if origin in (list, tuple):
        items = _typed(data, list, "a list", where)
        return origin(_value(arguments[0], item, f"{where}[{n}]") for n, item in enumerate(items))
    if origin is dict:
        items = _typed(data, dict, "an object", where).items()
        return {key: _value(arguments[1], item, f"{where}.{_cut(key)}") for key, item in items}
    return _SCALARS[hint](data, where) if hint in _SCALARS else _record(hint, data, where)


def _typed(data: Any, kind: type, name: str, where: str) -> Any:
    # A bool is an int to Python, and to nobody else.
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise _Misfit(where, f"is {_short(data)}, not {name}")
    return data


def _float(data: Any, where: str) -> float:
    if isinstance(data, str) and data in _WORDS:
        return _WORDS[data]
    try:
        number = float(data) if isinstance(data, int | float) else None
    except OverflowError:
        number = None
    if number is None or isinstance(data, bool) or not math.isfinite(number):
        raise _Misfit(where, f"is {_short(data)}, not a number")
    return number


_SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    float: _float,
    str: lambda data, where: _typed(data, str, "a text", where),
    int: lambda data, where: _typed(data, int, "a whole number", where),
    bool: lambda data, where: _typed(data, bool, "true or false", where),
}


def _short(data: Any) -> str:
    """A piece of the data, short enough for an error message."""
    if isinstance(data, dict | list):
        return "an object" if isinstance(data, dict) else "a list"
    text = "null" if data is None else ascii(data)
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

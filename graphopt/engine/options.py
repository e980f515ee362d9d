"""A pass's options: the fields of its dataclass, checked by type, from TOML or from text."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from graphopt.contract import AnyPass
from graphopt.engine.registry import find, suggestion
from graphopt.errors import UsageError

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def make_pass(name: str, options: Mapping[str, Any]) -> AnyPass:
    """Make a pass with its options.

    Args:
        name: The pass's name.
        options: Field values; text is converted to the field's type.

    Raises:
        UsageError: No such pass, no such option, or a value of the wrong type.
    """
    kind = find(name).load()
    fields = option_types(kind)
    values = {}
    for key, value in options.items():
        field = key.replace("-", "_")
        if field not in fields:
            hint = suggestion(field, fields) if fields else "it has no options"
            raise UsageError(f"no option {key!r}", pass_name=name, hint=hint)
        values[field] = _convert(value, fields[field], f"pass {name}: {key}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error), pass_name=name) from error


def option_types(kind: type[AnyPass]) -> dict[str, Any]:
    """The options of a pass, each with its type."""
    if not dataclasses.is_dataclass(kind):
        return {}
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def parse_pass(text: str) -> tuple[str, dict[str, str]]:
    """Split `NAME[:key=value,...]` as the command line takes it.

    Raises:
        UsageError: An option without a value.
    """
    name, _, rest = text.partition(":")
    options = {}
    for item in filter(None, rest.split(",")):
        key, sign, value = item.partition("=")
        if not sign or not key:
            raise UsageError(f"{item!r} is not key=value", pass_name=name)
        options[key.strip()] = value.strip()
    return name.strip(), options


def _convert(value: Any, wanted: Any, where: str) -> Any:
    origin = typing.get_origin(wanted)
    choices = typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return _first_fitting(value, choices, where)
    if origin is Literal:
        match = next((choice for choice in choices if str(choice) == str(value)), None)
        if match is None:
            raise UsageError(f"{where} = {value!r}", hint=f"one of: {', '.join(map(str, choices))}")
        return match
    if origin is tuple:
        items = value.split("+") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise UsageError(f"{where} = {value!r} is not a list")
        return tuple(_convert(item, choices[0], where) for item in items)
    return _scalar(value, wanted, where)


def _first_fitting(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if value is None or (value == "none" and type(None) in choices):
        return None
    for choice in choices:
        try:
            return _convert(value, choice, where)
        except UsageError:
            continue
    raise UsageError(f"{where} = {value!r} does not fit")


def _scalar(value: Any, wanted: Any, where: str) -> Any:
    problem = UsageError(f"{where} = {value!r} is not a {getattr(wanted, '__name__', wanted)}")
    if wanted is bool:
        word = _WORDS.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(word, bool):
            raise problem
        return word
    if wanted is type(None):
        raise problem
    if isinstance(value, bool) or (isinstance(value, float) and wanted is int):
        raise problem
    if wanted in (int, float) and isinstance(value, str | int | float):
        try:
            return wanted(value)
        except ValueError:
            raise problem from None
    if not isinstance(value, wanted):
        raise problem
    return value

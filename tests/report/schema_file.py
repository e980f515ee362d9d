"""Makes the JSON Schema of the report out of its dataclasses: their annotations and docstrings.

python -m tests.report.schema_file    writes it where graphopt.report.schema() reads it
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from graphopt.report import Report
from graphopt.report.batch import Batch
from graphopt.report.record import SCHEMA_VERSION

FILE = Path(__file__).parents[2] / f"graphopt/report/schemas/report-{SCHEMA_VERSION}.json"

_SCALARS = {str: "string", int: "integer", bool: "boolean", types.NoneType: "null"}
_NUMBER = {
    "description": "A number; JSON has no infinities, so those are words.",
    "anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}],
}


def generated() -> dict[str, Any]:
    """The schema of what --json prints and .json files hold: of one model, or of several."""
    definitions: dict[str, Any] = {"number": _NUMBER}
    one, several = _schema(Report, definitions), _schema(Batch, definitions)
    for name in ("Report", "Batch"):
        definitions[name]["properties"]["schema"]["const"] = SCHEMA_VERSION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:graphopt:report:{SCHEMA_VERSION}",
        "title": "graphopt report",
        "type": "object",
        "if": {"required": ["models"]},
        "then": several,
        "else": one,
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The file's content."""
    return json.dumps(generated(), indent=2) + "\n"


def validator(*, closed: bool = False) -> Draft202012Validator:
    """Checks JSON against the file; `closed` refuses fields that the file does not list."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    for definition in found["$defs"].values() if closed else ():
        if "properties" in definition:
            definition["additionalProperties"] = False
    return Draft202012Validator(found)


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if kind is float:
        return {"$ref": "#/$defs/number"}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"enum": [item.value for item in kind]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is types.UnionType:
        return {"anyOf": [_schema(choice, definitions) for choice in arguments]}
    if origin in (tuple, list):
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise TypeError(f"the report's schema has no form for {kind}")
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = _record(kind, definitions)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _record(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    head, _, attributes = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    meanings = dict(re.findall(r"^    (\w+): ((?:.|\n {8})+)", attributes, re.MULTILINE))
    hints = typing.get_type_hints(kind)
    properties = {}
    for field in dataclasses.fields(kind):
        properties[field.name] = _schema(hints[field.name], definitions)
        if field.name in meanings:
            properties[field.name]["description"] = " ".join(meanings[field.name].split())
    return {
        "description": " ".join(head.split()),
        "type": "object",
        "required": list(properties),
        "properties": properties,
    }


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")

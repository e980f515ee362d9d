"""Makes the JSON Schemas of reports out of their dataclasses: annotations and docstrings.

python -m tests.report.schema_file    writes them to graphopt/report/schemas
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
from graphopt.report.bench import BENCH_SCHEMA_VERSION, BenchReport
from graphopt.report.gate import GATE_SCHEMA_VERSION, GateReport
from graphopt.report.record import SCHEMA_VERSION
from graphopt.report.tune import TUNE_SCHEMA_VERSION, TuneReport

_SCALARS = {str: "string", int: "integer", bool: "boolean", types.NoneType: "null"}
_NUMBER = {
    "description": "A number; JSON has no infinities, so those are words.",
    "anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}],
}


@dataclasses.dataclass(frozen=True)
class Document:
    """A kind of JSON that graphopt writes.

    Attributes:
        name: As in the file's name.
        title: What it is.
        version: Of its shape.
        one: Its dataclass.
        several: Another one, which alone has `models`.
    """

    name: str
    title: str
    version: int
    one: type
    several: type | None = None

    @property
    def file(self) -> Path:
        """Where the package has its schema."""
        return SCHEMAS / f"{self.name}-{self.version}.json"

    @property
    def kinds(self) -> list[type]:
        """Its dataclasses."""
        return [kind for kind in (self.one, self.several) if kind is not None]

    def generated(self) -> dict[str, Any]:
        """The schema of what --json prints and .json files hold."""
        definitions: dict[str, Any] = {"number": _NUMBER}
        form = _schema(self.one, definitions)
        if self.several is not None:
            form = {
                "if": {"required": ["models"]},
                "then": _schema(self.several, definitions),
                "else": form,
            }
        for kind in self.kinds:
            definitions[kind.__name__]["properties"]["schema"]["const"] = self.version
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:graphopt:{self.name}:{self.version}",
            "title": self.title,
            "type": "object",
            **form,
            "$defs": dict(sorted(definitions.items())),
        }

    def text(self) -> str:
        """The file's content."""
        return json.dumps(self.generated(), indent=2) + "\n"

    def validator(self, *, closed: bool = False) -> Draft202012Validator:
        """Checks JSON against the file; `closed` refuses fields that the file does not list."""
        found = json.loads(self.file.read_text(encoding="utf-8"))
        for definition in found["$defs"].values() if closed else ():
            if "properties" in definition:
                definition["additionalProperties"] = False
        return Draft202012Validator(found)


SCHEMAS = Path(__file__).parents[2] / "graphopt/report/schemas"

REPORT = Document("report", "graphopt report", SCHEMA_VERSION, Report, Batch)
BENCH = Document("bench", "graphopt benchmark", BENCH_SCHEMA_VERSION, BenchReport)
GATE = Document("gate", "graphopt gate", GATE_SCHEMA_VERSION, GateReport)
TUNE = Document("tune", "graphopt tuning", TUNE_SCHEMA_VERSION, TuneReport)
DOCUMENTS = (REPORT, BENCH, GATE, TUNE)


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
    if origin in (types.UnionType, typing.Union):
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
    for document in DOCUMENTS:
        document.file.write_text(document.text(), encoding="utf-8")

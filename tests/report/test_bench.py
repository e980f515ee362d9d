from __future__ import annotations

import json

import pytest
from jsonschema import ValidationError

from graphopt.report.bench import BenchRequirement, Met
from graphopt.report.files import json_text
from tests.report.bench_reports import sample_report
from tests.report.schema_file import BENCH


def required(*outcomes: Met) -> list[BenchRequirement]:
    return [BenchRequirement("p99_ms < 1", "p99_ms", "same.onnx", 0, None, o) for o in outcomes]


@pytest.mark.parametrize(
    ("outcomes", "worst"),
    [
        ((), "met"),
        (("met", "met"), "met"),
        (("met", "inconclusive"), "inconclusive"),
        (("inconclusive", "not met", "met"), "not met"),
    ],
)
def test_outcome_is_the_worst_of_all_requirements(outcomes: tuple[Met, ...], worst: Met) -> None:
    assert sample_report(requirements=required(*outcomes)).outcome == worst


def test_models_and_the_reference_are_found() -> None:
    report = sample_report()
    assert report.model("same.onnx").sha256 == "cc" * 32
    assert report.cases[0].reference.model == report.reference


def test_every_field_is_in_the_schema() -> None:
    data = json.loads(json_text(sample_report().to_dict()))
    BENCH.validator(closed=True).validate(data)
    kinds = BENCH.generated()["$defs"]
    assert kinds["Case"]["properties"]["floor"]["anyOf"][1] == {"type": "null"}
    assert kinds["Arm"]["properties"]["verdict"]["anyOf"][0]["enum"][0] == "faster"
    assert kinds["Arm"]["properties"]["gflops"]["description"].startswith("Achieved billions")


@pytest.mark.parametrize(
    ("place", "value"),
    [("mode", "sideways"), ("threads", 1.5), ("floor", [1, 2]), ("shapes", {"x": ["N"]})],
)
def test_what_does_not_fit_the_schema(place: str, value: object) -> None:
    data = json.loads(json_text(sample_report().to_dict()))
    data["cases"][0][place] = value
    with pytest.raises(ValidationError):
        BENCH.validator().validate(data)

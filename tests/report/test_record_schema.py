from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

import graphopt.report
from graphopt.report.batch import Batch, ModelOutcome
from graphopt.report.files import json_text, to_json
from tests.report.samples import report, stats
from tests.report.schema_file import FILE, generated, text, validator


def data(**changes: Any) -> Any:
    return json.loads(to_json(report(**changes)))


def test_file_is_up_to_date() -> None:
    stale = f"{FILE.name} is stale: run python -m tests.report.schema_file"
    assert FILE.read_text(encoding="utf-8") == text(), stale


def test_package_gives_the_file() -> None:
    assert graphopt.report.schema() == generated()


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(graphopt.report.schema())


def test_report_fits_with_no_field_more_and_none_less() -> None:
    validator(closed=True).validate(data())
    listed = {name: len(kind["properties"]) for name, kind in
              generated()["$defs"].items() if "properties" in kind}  # fmt: skip
    assert listed["Report"] == len(data())
    assert listed["Check"] == len(data()["stages"][0]["verification"]["checks"][0])


def test_what_came_of_several_models_fits() -> None:
    done = ModelOutcome("a.onnx", 0, None, report())
    batch = Batch(3, (done, ModelOutcome("b.onnx", 3, "is empty", None)))
    several = json.loads(json_text(batch.to_dict()))
    validator(closed=True).validate(several)
    del several["models"][0]["report"]["status"]
    with pytest.raises(ValidationError):
        validator().validate(several)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.0])
def test_numbers_that_json_lacks(value: float) -> None:
    validator().validate(data(seconds=value))


def test_unknown_numbers() -> None:
    validator().validate(data(before=stats(macs=None, peak_activation_bytes=None, sparsity=None)))


def test_later_fields_are_no_error_but_to_an_exact_reader() -> None:
    later = {**data(), "mood": "good"}
    validator().validate(later)
    with pytest.raises(ValidationError, match="mood"):
        validator(closed=True).validate(later)


Change = Callable[[Any], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("status"),
        lambda d: d.update(status="good"),
        lambda d: d.update(schema=2),
        lambda d: d.update(seconds="long"),
        lambda d: d.update(changed="yes"),
        lambda d: d.update(seed=0.5),
        lambda d: d["before"].update(nodes=None),
        lambda d: d["before"]["ops"].update(Conv="many"),
        lambda d: d["stages"][0]["verification"]["checks"][0].pop("what"),
        lambda d: d["requirements"][0].update(met="yes"),
    ],
)
def test_what_does_not_fit(change: Change) -> None:
    changed = data()
    change(changed)
    with pytest.raises(ValidationError):
        validator().validate(changed)


def test_meanings_are_told() -> None:
    kinds = generated()["$defs"]
    assert kinds["Report"]["properties"]["changed"]["description"].startswith("False when no")
    assert kinds["Loss"]["properties"]["level"]["description"].endswith("deployed session loses.")

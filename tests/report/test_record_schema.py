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
from tests.report.schema_file import DOCUMENTS, REPORT, Document


def data(**changes: Any) -> Any:
    return json.loads(to_json(report(**changes)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_file_is_up_to_date(document: Document) -> None:
    stale = f"{document.file.name} is stale: run python -m tests.report.schema_file"
    assert document.file.read_text(encoding="utf-8") == document.text(), stale


def test_package_gives_the_file() -> None:
    assert graphopt.report.schema() == REPORT.generated()


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(graphopt.report.schema())


def test_report_fits_with_no_field_more_and_none_less() -> None:
    REPORT.validator(closed=True).validate(data())
    listed = {name: len(kind["properties"]) for name, kind in
              REPORT.generated()["$defs"].items() if "properties" in kind}  # fmt: skip
    assert listed["Report"] == len(data())
    assert listed["Check"] == len(data()["stages"][0]["verification"]["checks"][0])


def test_what_came_of_several_models_fits() -> None:
    done = ModelOutcome("a.onnx", 0, None, report())
    batch = Batch(3, (done, ModelOutcome("b.onnx", 3, "is empty", None)))
    several = json.loads(json_text(batch.to_dict()))
    REPORT.validator(closed=True).validate(several)
    del several["models"][0]["report"]["status"]
    with pytest.raises(ValidationError):
        REPORT.validator().validate(several)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.0])
def test_numbers_that_json_lacks(value: float) -> None:
    REPORT.validator().validate(data(seconds=value))


def test_unknown_numbers() -> None:
    REPORT.validator().validate(
        data(before=stats(macs=None, peak_activation_bytes=None, sparsity=None))
    )


def test_later_fields_are_no_error_but_to_an_exact_reader() -> None:
    later = {**data(), "mood": "good"}
    REPORT.validator().validate(later)
    with pytest.raises(ValidationError, match="mood"):
        REPORT.validator(closed=True).validate(later)


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
        REPORT.validator().validate(changed)


def test_meanings_are_told() -> None:
    kinds = REPORT.generated()["$defs"]
    assert kinds["Report"]["properties"]["changed"]["description"].startswith("False when no")
    assert kinds["Loss"]["properties"]["level"]["description"].endswith("deployed session loses.")

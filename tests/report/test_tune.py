from __future__ import annotations

import dataclasses
import json

import pytest
from jsonschema import ValidationError

from graphopt.report.files import json_text
from tests.report.schema_file import TUNE
from tests.report.test_tune_text import tuned


def test_report_fits_its_schema() -> None:
    for report in (tuned(), dataclasses.replace(tuned(), final=None)):
        data = json.loads(json_text(report.to_dict()))
        TUNE.validator(closed=True).validate(data)
        data["objective"] = "beauty"
        with pytest.raises(ValidationError):
            TUNE.validator().validate(data)


def test_meanings_are_told() -> None:
    kinds = TUNE.generated()["$defs"]
    assert kinds["TuneReport"]["properties"]["best"]["description"].startswith("What is proposed")
    assert "looks better" in kinds["TuneCandidate"]["properties"]["ratio"]["description"]

"""What holds in every test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from graphopt.report import Report
from graphopt.report.batch import Batch
from graphopt.report.files import json_text
from tests.report.schema_file import validator


@pytest.fixture(autouse=True, scope="session")
def every_report_fits_its_schema() -> Iterator[None]:
    """Hold every report that is made in this process against the published schema."""
    exact = validator(closed=True)

    def checking(make: Any) -> Any:
        def made(self: Report | Batch, *arguments: Any, **named: Any) -> None:
            make(self, *arguments, **named)
            exact.validate(json.loads(json_text(self.to_dict())))

        return made

    with pytest.MonkeyPatch.context() as patch:
        for kind in (Report, Batch):
            patch.setattr(kind, "__init__", checking(kind.__init__))
        yield

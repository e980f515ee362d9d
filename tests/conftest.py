"""What holds in every test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from graphopt.report.files import json_text
from graphopt.runtime import worker
from tests.report.schema_file import DOCUMENTS


@pytest.fixture(autouse=True, scope="session")
def every_report_fits_its_schema() -> Iterator[None]:
    """Hold every report that is made in this process against the published schema."""

    def checking(make: Any, exact: Draft202012Validator) -> Any:
        def made(self: Any, *arguments: Any, **named: Any) -> None:
            make(self, *arguments, **named)
            exact.validate(json.loads(json_text(self.to_dict())))

        return made

    with pytest.MonkeyPatch.context() as patch:
        for document in DOCUMENTS:
            exact = document.validator(closed=True)
            for kind in document.kinds:
                patch.setattr(kind, "__init__", checking(kind.__dict__["__init__"], exact))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_child_limits_this_process() -> Iterator[None]:
    """Let what children do be called here without their limit on memory, which would stay.

    The library that draws plots reserves far more address space than a model may have.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "limit_memory", lambda: None)
        yield

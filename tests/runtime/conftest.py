from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from graphopt.runtime import IsolatedRuntime
from tests.build import parse

SaveModel = Callable[..., Path]


@pytest.fixture(scope="module")
def shared() -> Iterator[IsolatedRuntime]:
    """One process for the tests of a module."""
    runtime = IsolatedRuntime(timeout=60)
    yield runtime
    runtime.close()


@pytest.fixture
def own() -> Iterator[IsolatedRuntime]:
    """A process of the test's own, to kill."""
    runtime = IsolatedRuntime(timeout=60)
    yield runtime
    runtime.close()


@pytest.fixture
def saved(tmp_path: Path) -> SaveModel:
    """Writes a model from its text, and gives its path."""

    def save(text: str, **initializers: Any) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save(parse(text, **initializers), path)
        return path

    return save

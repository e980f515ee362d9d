"""A runtime process that serves another module's actions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from graphopt.errors import RuntimeFailure
from graphopt.runtime import IsolatedRuntime, Session
from tests.runtime.conftest import SaveModel

X = np.array([-1, 2], np.float32)
RELU = "g (float[N] x) => (float[N] y) { y = Relu(x) }"
SOURCE = """
from graphopt.runtime import worker

def doubled(header, arrays):
    print("what it prints disturbs nothing")
    return {"sum": header["a"] + 1}, {name: 2 * value for name, value in arrays.items()}

def main():
    worker.main({"double": doubled})
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolatedRuntime]:
    (tmp_path / "doubling_worker.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    runtime = IsolatedRuntime(timeout=60, worker="doubling_worker")
    yield runtime
    runtime.close()


def test_actions_of_the_module_and_of_the_runtime(
    served: IsolatedRuntime, saved: SaveModel
) -> None:
    header, arrays = served.ask({"action": "double", "a": 1}, {"x": X}, "run")
    assert header == {"sum": 2}
    assert arrays["x"].tolist() == [-2, 4]  # type: ignore[union-attr]
    assert served.open(Session(saved(RELU))).run({"x": X})["y"].tolist() == [0, 2]


def test_what_an_action_raises_is_of_the_kind_asked_for(served: IsolatedRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="KeyError") as caught:
        served.ask({"action": "double"}, {"x": X}, "load")
    assert caught.value.kind == "load"
    assert served.ask({"action": "double", "a": 1}, {}, "run")[0] == {"sum": 2}


def test_other_runtimes_do_not_know_them(shared: IsolatedRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="double"):
        shared.ask({"action": "double", "a": 1}, {}, "run")


def test_module_that_is_not_there_is_a_crash() -> None:
    runtime = IsolatedRuntime(timeout=60, worker="no_such_module")
    with pytest.raises(RuntimeFailure, match="exit code 1") as caught:
        runtime.ask({"action": "double"}, {}, "run")
    assert caught.value.kind == "crash"
    runtime.close()

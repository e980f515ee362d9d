"""The batch that a report tells is the one that was fed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.benching.comparison import bench_models
from graphopt.benching.options import BenchOptions
from graphopt.errors import DataError, GraphoptError, UsageError
from graphopt.model import load_model
from graphopt.report.bench import Case
from tests.benching.placing import place

OPEN = "agraph (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"
PAIR = """agraph (float[N,3] x, float[2,N,4] s) => (float[N,3] y, float[2,N,4] t) {
    y = Relu(x)
    t = Relu(s)
}"""


def cases_of(path: Path, **given: Any) -> list[Case]:
    plain: dict[str, Any] = {"seconds": 0.0, "processes": 1, "warmup": 1}
    return bench_models([load_model(path)], BenchOptions(**{**plain, **given})).cases


def x_of(rows: int) -> dict[str, Any]:
    return {"x": np.zeros((rows, 3), np.float32)}


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({}, [1]),
        ({"batches": (1, 6)}, [1, 6]),
        ({"shapes": {"x": (5, 3)}}, [5]),
        ({"batches": (5,), "shapes": {"x": (5, 3)}}, [5]),
        ({"data": [x_of(2)]}, [2]),
        ({"data": [x_of(2)], "batches": (5, None)}, [5, 2]),
    ],
    ids=str,
)
def test_batch_is_what_was_fed(tmp_path: Path, given: dict[str, Any], rows: list[int]) -> None:
    cases = cases_of(place(tmp_path, OPEN), **given)
    assert [case.batch for case in cases] == rows
    assert [case.shapes["x"][0] for case in cases] == rows


def test_batch_lies_on_another_axis_of_a_state(tmp_path: Path) -> None:
    (case,) = cases_of(place(tmp_path, PAIR), batches=(6,))
    assert (case.batch, case.shapes) == (6, {"x": [6, 3], "s": [2, 6, 4]})
    data = [{**x_of(1), "s": np.zeros((2, 1, 4), np.float32)}]
    (case,) = cases_of(place(tmp_path, PAIR), batches=(6,), data=data)
    assert (case.batch, case.shapes) == (6, {"x": [6, 3], "s": [2, 6, 4]})


def test_shape_that_contradicts_the_batch(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--batch 8"):
        cases_of(place(tmp_path, OPEN), batches=(8,), shapes={"x": (2, 3)})


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_data_of_another_rank_is_an_error_of_the_data(tmp_path: Path, rank: int) -> None:
    path = place(tmp_path, PAIR)
    data = [{"x": np.zeros((1,) * rank, np.float32), "s": np.zeros((1,) * rank, np.float32)}]
    with pytest.raises(DataError) as caught:
        cases_of(path, batches=(4,), data=data)
    assert caught.value.file == str(path)


def test_model_without_inputs(tmp_path: Path) -> None:
    path = place(tmp_path, "agraph () => (float[2] y) { y = Relu(w) }", w=np.ones(2, np.float32))
    (case,) = cases_of(path)
    assert (case.batch, case.shapes) == (None, {})
    assert case.reference.wall.calls >= 1


def test_batch_of_a_model_without_inputs_is_refused(tmp_path: Path) -> None:
    path = place(tmp_path, "agraph () => (float[2] y) { y = Relu(w) }", w=np.ones(2, np.float32))
    with pytest.raises(GraphoptError, match="--batch 8"):
        cases_of(path, batches=(8,))

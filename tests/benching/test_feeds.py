from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.feeds import batch_of, batched, check_batch, generated_feeds, model_inputs
from graphopt.errors import DataError, RuntimeFailure, UsageError
from graphopt.model import Model, load_model
from graphopt.model.carrier import Source
from graphopt.runtime import IsolatedRuntime, Opened, Session
from graphopt.verify.inputs import Feeds, InputSpec
from tests.build import Array, few, parse


@pytest.fixture(scope="module")
def shared() -> Iterator[IsolatedRuntime]:
    runtime = IsolatedRuntime(timeout=60)
    yield runtime
    runtime.close()


def model_of(text: str, **initializers: Array) -> Model:
    return Model(parse(text, **initializers), Source(Path("some.onnx"), ""))


def checked(text: str, batch: int | None) -> None:
    model = model_of(text)
    check_batch(model, model_inputs(model), batch)


def generated(
    runtime: IsolatedRuntime, folder: Path, text: str, batch: int | None = None,
    shapes: dict[str, tuple[int, ...]] | None = None, **initializers: Array,
) -> Feeds:  # fmt: skip
    path = folder / "model.onnx"
    onnx.save(parse(text, **initializers), path)
    model = load_model(path)
    opened = runtime.open(Session(path))
    try:
        return generated_feeds(
            model, model_inputs(model), opened, batch=batch, shapes=shapes or {}, seed=0
        )
    finally:
        opened.close()


def test_inputs_are_what_a_caller_must_feed() -> None:
    model = model_of(
        "agraph (float[N,3] x, float[3] w, int64[2] ids) => (float[N,3] y, float[2,3] z) {"
        " y = Add(x, w)\n z = Gather(table, ids) }",
        w=np.ones(3, np.float32),
        table=np.ones((5, 3), np.float32),
    )
    specs = {spec.name: spec for spec in model_inputs(model)}
    assert list(specs) == ["x", "ids"]
    assert specs["x"].shape == ("N", 3)
    assert specs["ids"].below == 5


OPEN = "agraph (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"
FIXED = "agraph (float[4,3] x) => (float[4,3] y) { y = Relu(x) }"
TWO = "agraph (float[4,3] a, float[2,3] b) => (float[4,3] y, float[2,3] z) { y = Relu(a)\n z = Relu(b) }"  # noqa: E501
STATE = "agraph (float[2,N,3] s) => (float[2,N,3] y) { y = Relu(s) }"
MIXED = "agraph (float[N,3] x, float[1,3] y) => (float[N,3] z) { z = Add(x, y) }"
SCALAR = "agraph (float[4,3] x, float s) => (float[4,3] z) { z = Mul(x, s) }"
IMAGE = "agraph (float[1,3,H,W] x) => (float[1,3,H,W] y) { y = Relu(x) }"


@pytest.mark.parametrize(
    ("text", "batch"),
    [(OPEN, 8), (OPEN, None), (FIXED, 4), (FIXED, None), (STATE, 8), (MIXED, 8), (SCALAR, 4)],
)
def test_batch_that_the_model_takes(text: str, batch: int | None) -> None:
    checked(text, batch)


@pytest.mark.parametrize(
    ("text", "said"),
    [(FIXED, "fixed batch of 4"), (TWO, "fixed batch of 2, 4"), (IMAGE, "fixed batch of 1")],
)
def test_fixed_batch_is_refused_with_the_way_out(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        checked(text, 8)
    assert "--batch 8" in str(caught.value)
    assert caught.value.file == "some.onnx"
    assert "convert --dynamic-batch" in (caught.value.hint or "")


@pytest.mark.parametrize(("batch", "rows"), [(None, 1), (1, 1), (5, 5)])
def test_generated_inputs_have_the_batch(
    shared: IsolatedRuntime, tmp_path: Path, batch: int | None, rows: int
) -> None:
    text = "agraph (float[N,1,6,H] x) => (float[N,1,6,H] y) { y = Relu(x) }"
    feeds = generated(shared, tmp_path, text, batch)
    assert feeds["x"].shape[0] == rows
    assert feeds["x"].shape[1:3] == (1, 6)


def test_generated_state_has_the_batch_where_it_belongs(
    shared: IsolatedRuntime, tmp_path: Path
) -> None:
    feeds = generated(shared, tmp_path, STATE, 7)
    assert feeds["s"].shape == (2, 7, 3)


def test_stated_shape_is_kept_beside_a_batch(shared: IsolatedRuntime, tmp_path: Path) -> None:
    text = "agraph (float[N,M] x, float[N,K] y) => (float[N,M] z, float[N,K] w) { z = Relu(x)\n w = Relu(y) }"  # noqa: E501
    feeds = generated(shared, tmp_path, text, 4, {"x": (4, 9)})
    assert feeds["x"].shape == (4, 9)
    assert feeds["y"].shape[0] == 4


def test_generated_inputs_are_the_same_every_time(shared: IsolatedRuntime, tmp_path: Path) -> None:
    first, second = (generated(shared, tmp_path, OPEN, 3) for _ in range(2))
    assert np.array_equal(first["x"], second["x"])


def test_sizes_are_tried_until_the_model_runs(shared: IsolatedRuntime, tmp_path: Path) -> None:
    # 64 columns: not the first that is tried.
    text = "agraph (float[N,T] x) => (float[N,4] y) { y = MatMul(x, w) }"
    feeds = generated(shared, tmp_path, text, 2, w=np.ones((64, 4), np.float32))
    assert feeds["x"].shape == (2, 64)


def test_no_size_runs(shared: IsolatedRuntime, tmp_path: Path) -> None:
    text = "agraph (float[N,T] x) => (float[N,4] y) { y = MatMul(x, w) }"
    with pytest.raises(DataError, match="generated inputs") as caught:
        generated(shared, tmp_path, text, w=np.ones((63, 4), np.float32))
    assert caught.value.file == str(tmp_path / "model.onnx")
    assert "--input-shape" in (caught.value.hint or "")
    assert "\n" not in str(caught.value)


def test_stated_shape_reaches_where_guesses_do_not(shared: IsolatedRuntime, tmp_path: Path) -> None:
    text = "agraph (float[N,T] x) => (float[N,4] y) { y = MatMul(x, w) }"
    weights = np.ones((63, 4), np.float32)
    feeds = generated(shared, tmp_path, text, shapes={"x": (2, 63)}, w=weights)
    assert feeds["x"].shape == (2, 63)


def test_kind_that_nothing_can_be_made_for(shared: IsolatedRuntime, tmp_path: Path) -> None:
    text = "agraph (optional(float[N]) x) => (bool y) { y = OptionalHasElement(x) }"
    with pytest.raises(DataError, match="no input of its kind"):
        generated(shared, tmp_path, text)


class Dying:
    """A loaded model whose process dies."""

    def __init__(self, kind: str) -> None:
        self.kind, self.runs = kind, 0

    def run(self, feeds: Feeds) -> None:
        self.runs += 1
        raise RuntimeFailure("it died", kind=self.kind)


@pytest.mark.parametrize("kind", ["crash", "timeout"])
def test_crash_is_told_and_not_tried_again(kind: str) -> None:
    model, opened = model_of(OPEN), Dying(kind)
    opened_as: Any = opened
    given_as: Opened = opened_as
    with pytest.raises(RuntimeFailure) as caught:
        generated_feeds(model, model_inputs(model), given_as, batch=None, shapes={}, seed=0)
    assert (caught.value.kind, opened.runs) == (kind, 1)


def test_plans_that_a_batch_makes_equal_are_tried_once() -> None:
    model, opened = model_of(OPEN), Dying("run")
    opened_as: Any = opened
    with pytest.raises(DataError, match="it died"):
        generated_feeds(model, model_inputs(model), opened_as, batch=4, shapes={}, seed=0)
    alone = Dying("run")
    alone_as: Any = alone
    with pytest.raises(DataError):
        generated_feeds(model, model_inputs(model), alone_as, batch=None, shapes={}, seed=0)
    assert opened.runs < alone.runs


SPECS = [
    InputSpec("x", np.dtype(np.float32), ("N", 2)),
    InputSpec("table", np.dtype(np.float32), (3, 2)),
    InputSpec("scalar", np.dtype(np.float32), ()),
    InputSpec("any", np.dtype(np.float32), None),
    InputSpec("s", np.dtype(np.float32), ("N",), is_sequence=True),
]


@few
@given(st.integers(1, 6), st.integers(1, 20))
def test_rows_repeat_in_order_or_are_cut(rows: int, batch: int) -> None:
    x = np.arange(2.0 * rows).reshape(rows, 2)
    found = batched({"x": x}, SPECS, batch)["x"]
    assert np.array_equal(found, np.tile(x, (batch, 1))[:batch])
    assert found.dtype == x.dtype


def test_only_open_first_dimensions_are_batched() -> None:
    feeds = {
        "x": np.ones((1, 2), np.float32),
        "table": np.ones((3, 2), np.float32),
        "scalar": np.array(1, np.float32),
        "any": np.ones((1, 2), np.float32),
        "s": [np.ones(2, np.float32)],
    }
    found = batched(feeds, SPECS, 4)
    assert found["x"].shape == (4, 2)
    assert all(found[name] is feeds[name] for name in ("table", "scalar", "any", "s"))
    assert batched(feeds, SPECS, None) is feeds


def test_strings_are_batched_too_and_no_rows_stay_none() -> None:
    words = np.array([["a"], ["b"]], object)
    assert batched({"x": words}, SPECS, 3)["x"].tolist() == [["a"], ["b"], ["a"]]
    assert batched({"x": np.zeros((0, 2))}, SPECS, 3)["x"].shape == (0, 2)


@pytest.mark.parametrize(
    ("shapes", "batch"),
    [
        ([(4, 3)], 4),
        ([(4, 3), (4, 1, 2)], 4),
        ([(4, 3), (2, 3)], None),
        ([(4, 3), ()], 4),
        ([()], None),
        ([], None),
    ],
)
def test_batch_of_inputs(shapes: list[tuple[int, ...]], batch: int | None) -> None:
    feeds: dict[str, Any] = {str(n): np.zeros(shape) for n, shape in enumerate(shapes)}
    assert batch_of(feeds) == batch


def test_sequences_have_no_batch() -> None:
    assert batch_of({"s": [np.zeros((4, 3))]}) is None

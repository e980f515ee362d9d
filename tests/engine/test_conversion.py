from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphopt.engine.conversion import INSIDE_BYTES, Conversion, apply, declared_changes
from graphopt.model import Model, SaveOptions, load_model, save_model
from tests.build import parse

W = np.arange(200, dtype=np.float32)
CALL = """<ir_version: 8, opset_import: ["": 17, "local": 1]>
g (float[1,4] x) => (float[1,4] y) { t = local.f(x) y = Reshape(t, s) }
<domain: "local", opset_import: ["": 17]> f (v) => (r) { r = Neg(v) }"""


def call() -> Model:
    return Model(parse(CALL, s=np.array([1, 4])))


def test_everything_at_once_in_one_order() -> None:
    said: list[str] = []
    wanted = Conversion(
        inline_functions=True, opset=18, shapes={"x": (1, 4)}, dynamic_batch=True, external="inside"
    )
    steps = apply(call(), wanted, said.append)
    assert said == [
        "inlining functions", "raising the opset", "fixing sizes", "opening the batch",
    ]  # fmt: skip
    assert steps.changes == [
        "local functions inlined: 1", "opset 17 -> 18",
        "nodes that had the batch baked in: 1 Reshape",
    ]  # fmt: skip
    assert declared_changes(call().proto, steps.result.proto) == [
        "input x [1,4] -> [batch,4]", "output y [1,4] -> [batch,4]",
    ]  # fmt: skip
    assert steps.batched is not None
    assert declared_changes(call().proto, steps.closed.proto) == []


def test_nothing_to_change_is_the_same_model() -> None:
    model = Model(parse("g (float[2] x) => (float[2] y) { y = Neg(x) }"))
    wanted = Conversion(inline_functions=True, opset=17, shapes={"x": (2,)}, external=1 << 20)
    steps = apply(model, wanted, lambda what: None)
    assert steps.result is model
    assert steps.changes == []


def test_sizes_are_fixed_before_the_batch_is_opened() -> None:
    model = Model(parse("g (float[N,H] x) => (float[N,H] y) { y = Relu(x) }"))
    wanted = Conversion(shapes={"x": (1, 6)}, dynamic_batch=True)
    steps = apply(model, wanted, lambda what: None)
    assert declared_changes(model.proto, steps.result.proto) == [
        "input x [N,H] -> [batch,6]", "output y [N,H] -> [batch,6]",
    ]  # fmt: skip
    assert not Conversion(dynamic_batch=True).fixes
    assert wanted.fixes


@pytest.mark.parametrize(
    ("external", "threshold"),
    [(None, None), ("inside", None), (0, INSIDE_BYTES + 1), (4096, 4096)],
)
def test_small_tensors_stay_inside_whatever_the_threshold(
    external: object, threshold: int | None
) -> None:
    # ONNX Runtime reads shapes while it loads, and not from another file.
    assert Conversion(external=external).threshold == threshold  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("external", "said"),
    [
        (0, ["tensors that go to a file beside the model: 1"]),
        (800, []),
        (801, ["tensors that come inside the model: 2"]),
        ("inside", ["tensors that come inside the model: 2"]),
        (None, []),
    ],
)
def test_what_moves_is_counted(tmp_path: Path, external: object, said: list[str]) -> None:
    model = parse("g (float[200] x) => (float[200] y) { t = Add(x, w) y = Add(t, v) }", w=W, v=W)
    path = save_model(Model(model), tmp_path / "m.onnx", SaveOptions(external_threshold=600))
    # Two weights of 800 bytes lie outside; one of 400 bytes inside.
    loaded = load_model(path)
    small = parse("g (float[200] x) => (float[200] y) { y = Relu(x) }", k=W[:100])
    loaded.proto.graph.initializer.extend(small.graph.initializer)
    wanted = Conversion(external=external)  # type: ignore[arg-type]
    steps = apply(loaded, wanted, lambda what: None)
    assert steps.changes == said

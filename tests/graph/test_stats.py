from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt.graph import measure, stats
from graphopt.model import Model, load_model, save_model
from graphopt.model.save import SaveOptions
from graphopt.report import ModelStats
from tests.build import parse

TEXT = """<ir_version: 9, opset_import: ["": 19, "local": 2]>
agraph (float[N, 4] x, bool c) => (float[N, 4] y) {
  k = Constant<value = float[4] {0.0, 1.0, 2.0, 0.0}>()
  s = Add(x, k)
  t = If (c) <
    then_branch = t () => (a) { i = Constant<value_int = 3>() a = Mul(s, w) },
    else_branch = e () => (b) { b = vendor.Secret(s) }
  >
  y = local.f(t)
}
<domain: "local", opset_import: ["": 19]>
f (v) => (r) { n = Add(v, v) r = Add(n, n) }
"""


def measured(text: str = TEXT) -> ModelStats:
    model = parse(text, w=np.array([1, 0, 3, 4], np.float32), flags=np.zeros((2, 3), np.int8))
    return measure(Model(model))


def test_nodes_are_counted_in_bodies_and_functions() -> None:
    found = measured()
    assert found.nodes == 9
    assert found.constant_nodes == 2
    assert found.ops == {"Add": 3, "Constant": 2, "If": 1, "Mul": 1, "local::f": 1,
                         "vendor::Secret": 1}  # fmt: skip
    assert list(found.ops)[:2] == ["Add", "Constant"]
    assert found.functions == 1
    assert found.opaque_nodes == 2
    assert (found.ir_version, found.opsets) == (9, {"": 19, "local": 2})


def test_weights_are_counted_wherever_they_lie() -> None:
    found = measured()
    assert found.initializers == 2
    assert found.parameters == 4 + 4
    assert found.weight_bytes == 16 + 16 + 6
    assert found.dtypes == {"float": 32, "int8": 6}
    assert found.sparsity == 3 / 8


def test_packed_types_count_packed_bytes() -> None:
    model = parse("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    for name, elem_type, size in (("a", TensorProto.INT4, 3), ("b", TensorProto.FLOAT4E2M1, 3)):
        model.graph.initializer.add(name=name, data_type=elem_type, dims=[5], raw_data=bytes(size))
    found = measure(Model(model))
    assert found.dtypes == {"float4e2m1": 3, "int4": 3}
    assert (found.weight_bytes, found.parameters, found.sparsity) == (6, 5, 1.0)


def test_a_type_of_the_future_is_counted_under_its_number() -> None:
    model = parse("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    model.graph.initializer.add(name="w", data_type=99, dims=[2], raw_data=b"ab")
    found = measure(Model(model))
    (name,) = found.dtypes
    assert "99" in name


def test_a_model_without_floats_has_no_sparsity() -> None:
    found = measure(Model(parse("g (float[1] x) => (float[1] y) { y = Relu(x) }")))
    assert found.sparsity is None and found.parameters == 0 and found.dtypes == {}


def test_sparsity_of_large_models_is_unknown_and_nothing_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = parse("g (float[8] x) => (float[8] y) { y = Add(x, w) }", w=np.zeros(8, np.float32))
    save_model(Model(model), tmp_path / "m.onnx", SaveOptions(external_threshold=1))
    for limit, sparsity, read in ((32, 1.0, 32), (31, None, 0)):
        monkeypatch.setattr(stats, "SPARSITY_LIMIT", limit)
        loaded = load_model(tmp_path / "m.onnx")
        assert measure(loaded).sparsity == sparsity
        assert loaded.files is not None and loaded.files.bytes_read == read


def test_file_bytes_count_external_data(tmp_path: Path) -> None:
    model = parse("g (float[8] x) => (float[8] y) { y = Add(x, w) }", w=np.zeros(8, np.float32))
    path = save_model(Model(model), tmp_path / "m.onnx", SaveOptions(external_threshold=1))
    assert measure(load_model(path)).file_bytes == path.stat().st_size + 32


def peak(text: str, **shapes: tuple[int, ...]) -> int | None:
    return measure(Model(parse(text, w=np.ones(1000, np.float32))), shapes).peak_activation_bytes


PEAKS = {
    # x and a, then a and y
    "chain": ("g (float[1000] x) => (y) { a = Relu(x) y = Neg(a) }", 8000),
    # x stays for the last node: x, b and y
    "skip": ("g (float[1000] x) => (y) { a = Relu(x) b = Neg(a) y = Add(x, b) }", 12000),
    # three live at the second node: a, b and what c becomes is not yet there
    "fork": ("g (float[1000] x) => (y) { a = Relu(x) b = Neg(x) c = Abs(x) y = Sum(a, b, c) }",
             16000),
    # a result stays to the end
    "result": ("g (float[1000] x) => (a, y) { a = Relu(x) b = Neg(a) y = Abs(b) }", 12000),
    "weights do not count": ("g (float[1000] x) => (y) { y = Add(x, w) }", 8000),
    "constants do not count": (
        "g (float[2] x) => (y) { c = Constant<value = float[2] {1.0, 2.0}>() y = Add(x, c) }", 16),
    "types count": ("g (float[1000] x) => (y) { a = Cast<to = 11>(x) y = Cast<to = 10>(a) }",
                    12000),
    "read nowhere": ("g (float[1000] x) => (y) { a = Exp(x) y = Neg(x) }", 8000),
}  # fmt: skip


@pytest.mark.parametrize("name", PEAKS)
def test_peak_of_live_activations_by_hand(name: str) -> None:
    text, wanted = PEAKS[name]
    assert peak(text) == wanted


def test_what_a_body_captures_lives_until_its_node() -> None:
    text = """g (float[1000] x, bool c) => (float[1000] z) {
      a = Relu(x)
      b = Neg(x)
      d = Abs(b)
      z = If (c) <
        then_branch = t () => (float[1000] q) { q = Add(a, d) },
        else_branch = e () => (float[1000] r) { r = Identity(a) }
      >
    }"""
    assert peak(text) == 12001  # a, d, z and c


def test_an_unknown_size_makes_the_peak_unknown() -> None:
    assert peak("g (float[2, K] x) => (y) { y = Relu(x) }") is None
    assert peak("g (float[2, K] x) => (y) { y = Relu(x) }", x=(2, 10)) == 160
    assert peak("g (x) => (y) { y = Relu(x) }") is None
    assert peak("g (string[5] x) => (y) { y = Identity(x) }") is None


def test_an_open_batch_counts_as_one() -> None:
    found = measure(Model(parse("g (float[N, 10] x) => (y) { y = Relu(x) }")))
    assert (found.peak_activation_bytes, found.macs_at) == (80, {"x": [1, 10]})


def test_sparse_initializers_count() -> None:
    model = parse("g (float[3] x) => (float[3] y) { y = Add(x, w) }")
    sparse = model.graph.sparse_initializer.add(dims=[3])
    sparse.values.CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [1], [2.0]))
    sparse.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [1], [0]))
    found = measure(Model(model))
    assert (found.initializers, found.parameters) == (1, 1)
    assert found.dtypes == {"float": 4, "int64": 8}

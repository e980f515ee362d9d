from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from graphopt.errors import UsageError
from graphopt.graph import graph_view
from graphopt.verify.inputs import (
    CEILINGS,
    Feeds,
    InputSpec,
    SizePlan,
    check_shapes,
    input_specs,
    make_feeds,
    size_plans,
)
from tests.build import build, parse

PLAN = next(size_plans(0))


def specs_of(text: str, **initializers: Any) -> list[InputSpec]:
    """Specs with what the graph tells about values."""
    program = build(text, **initializers)
    return input_specs(program.model.proto, graph_view(program.main, program))


def made(specs: list[InputSpec], seed: int = 0, plan: SizePlan = PLAN, **shapes: Any) -> Feeds:
    feeds = make_feeds(specs, plan, seed, shapes)
    assert feeds is not None
    return feeds


def test_specs_name_dtype_and_shape() -> None:
    (spec,) = input_specs(parse("g (float16[N,3,?] x) => (float16[N,3,?] y) { y = Relu(x) }"))
    assert (spec.name, spec.dtype, spec.shape) == ("x", np.dtype(np.float16), ("N", 3, None))


def test_overridable_initializer_need_not_be_fed() -> None:
    text = "g (float[N] x, float[N] w) => (float[N] y) { y = Add(x, w) }"
    assert [s.name for s in input_specs(parse(text, w=np.ones(1, np.float32)))] == ["x"]


def test_index_of_a_table_stays_inside_it() -> None:
    specs = specs_of(
        "g (int64[N] i) => (float[N,2] y) { y = Gather(table, i) }",
        table=np.zeros((5, 2), np.float32),
    )
    assert specs[0].below == 5
    values = np.concatenate([made(specs, seed, plan)["i"] for seed in range(9) for plan in plans()])
    assert values.min() >= 0
    assert values.max() < 5
    assert len(set(values.tolist())) > 2


def test_the_smallest_of_several_tables_counts() -> None:
    specs = specs_of(
        """g (int64[N] i) => (float[N,2] y) {
            c = Cast<to = 6>(i)
            a = Gather(large, i)
            b = Gather(small, c)
            y = Add(a, b)
        }""",
        large=np.zeros((50, 2), np.float32),
        small=np.zeros((3, 2), np.float32),
    )
    assert specs[0].below == 3


def test_values_that_the_graph_compares_with() -> None:
    specs = specs_of(
        """g (float[N] x, int64 rate) => (float[N] y) {
            c = Equal(rate, known)
            y = Where(c, x, z)
        }""",
        known=np.array(16000),
        z=np.zeros(1, np.float32),
    )
    assert specs[1].choices == (16000,)
    assert made(specs)["rate"] == 16000


@pytest.mark.parametrize("attributes", ["<axis = 5>", "<axis = -5>", '<axis = "one">'])
def test_invalid_gather_gives_no_hint(attributes: str) -> None:
    specs = specs_of(
        f"g (int64[N] i) => (float[N] y) {{ y = Gather{attributes}(table, i) }}",
        table=np.zeros(5, np.float32),
    )
    assert specs[0].below is None


def test_mask_is_ones_then_zeros() -> None:
    specs = specs_of("g (int64[N,M] attention_mask) => (int64[N,M] y) { y = Abs(attention_mask) }")
    masks = [made(specs, seed)["attention_mask"] for seed in range(3)]
    assert all(set(np.unique(mask)) <= {0, 1} for mask in masks)
    assert all((np.diff(mask, axis=-1) <= 0).all() for mask in masks)
    assert all((mask[:, 0] == 1).all() for mask in masks)
    assert any((mask == 0).any() for mask in masks)


def plans() -> list[SizePlan]:
    """The first plan of each input set."""
    return [next(size_plans(variation)) for variation in range(3)]


def test_open_dimensions_vary_over_the_input_sets() -> None:
    specs = input_specs(parse("g (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }"))
    shapes = [made(specs, plan=plan)["x"].shape for plan in plans()]
    assert len({shape[0] for shape in shapes}) == 3
    assert len({shape[2] for shape in shapes}) == 3
    assert {shape[1] for shape in shapes} == {3}


def test_equal_symbols_get_equal_sizes() -> None:
    specs = input_specs(
        parse("""g (float[B,S] a, float[S,B] b, float[S] c, float[D] d) => (float[B,S] y) {
            y = Relu(a)
        }""")
    )
    for plan in size_plans(1):
        feeds = made(specs, plan=plan)
        batch, length = feeds["a"].shape
        assert feeds["b"].shape == (length, batch)
        assert feeds["c"].shape == (length,)


def test_stated_shapes_win() -> None:
    specs = input_specs(parse("g (float[N,M] x, float[N] z) => (float[N,M] y) { y = Relu(x) }"))
    feeds = made(specs, x=(7, 5))
    assert feeds["x"].shape == (7, 5)


def test_stated_scalar_shape_wins() -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert made(input_specs(model), x=())["x"].shape == ()


def test_symbol_of_a_stated_shape_binds_the_other_inputs() -> None:
    specs = input_specs(parse("g (float[S,M] x, float[S] z) => (float[S,M] y) { y = Relu(x) }"))
    feeds = made(specs, x=(7, 5))
    assert feeds["z"].shape == (7,)


def test_sequences_are_fed_as_lists() -> None:
    text = "g (seq(float[N,2]) s) => (int64 n) { n = SequenceLength(s) }"
    (spec,) = specs = input_specs(parse(text))
    assert spec.is_sequence
    items = made(specs)["s"]
    assert isinstance(items, list)
    assert [item.shape[1] for item in items] == [2, 2]
    assert items[0].dtype == np.float32


def test_kind_that_cannot_be_made() -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    model.graph.input[0].type.map_type.key_type = TensorProto.INT64
    assert make_feeds(input_specs(model), PLAN, 0) is None


def test_shape_too_large_is_not_made() -> None:
    specs = input_specs(parse("g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    assert make_feeds(specs, PLAN, 0, {"x": (1 << 40,)}) is None


@pytest.mark.parametrize(
    "dtype",
    [
        np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int8, np.uint8,
        np.int64, np.uint64, bool, np.complex64, object, ml_dtypes.int4, ml_dtypes.uint4,
    ],
)  # fmt: skip
def test_values_of_every_dtype(dtype: Any) -> None:
    spec = InputSpec("x", np.dtype(dtype), ("N", 40))
    one, same, other = (made([spec], seed)["x"] for seed in (0, 0, 1))
    assert one.dtype == np.dtype(dtype)
    assert one.shape == (1, 40)
    assert (one == same).all()
    assert not (one == other).all()
    assert len({str(value) for value in one.reshape(-1).tolist()}) > 1


def test_different_inputs_get_different_values() -> None:
    specs = [InputSpec(name, np.dtype(np.float32), (8,)) for name in "ab"]
    feeds = made(specs)
    assert not (feeds["a"] == feeds["b"]).any()


def test_plans_start_with_three_batch_sizes_and_repeat_none() -> None:
    assert [plan.batch for plan in plans()] == [1, 2, 3]
    for variation in range(3):
        found = list(size_plans(variation))
        assert len(found) == len(set(found))


def test_stated_shapes_must_name_inputs() -> None:
    specs = [InputSpec("x", None, None), InputSpec("y", None, None)]
    assert check_shapes({"x": [1]}, specs) == {"x": (1,)}
    with pytest.raises(UsageError, match="'z'") as caught:
        check_shapes({"z": (1,)}, specs)
    assert caught.value.hint == "inputs: x, y"


def test_integers_of_unknown_meaning_stay_below_the_plans_ceiling() -> None:
    specs = [InputSpec("label", np.dtype(np.int64), (64,))]
    for ceiling in CEILINGS:
        feeds = make_feeds(specs, SizePlan(1, (8, 8), 4, ceiling=ceiling), seed=0)
        assert feeds is not None
        assert ceiling / 2 <= feeds["label"].max() < ceiling

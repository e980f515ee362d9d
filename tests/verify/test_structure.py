from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from graphopt.verify.structure import check_structure, signature_changes
from tests.build import parse

ADD = "g (float[N,4] x, float[4] w) => (float[N,4] y) { y = Add(x, w) }"


def model() -> ModelProto:
    return parse(ADD, w=np.ones(4, np.float32))


def statuses(before: ModelProto, after: ModelProto) -> dict[str, str]:
    return {row.what: row.status for row in check_structure(before, after)}


def test_a_model_has_its_own_structure() -> None:
    assert signature_changes(model(), model()) == []
    assert statuses(model(), model()) == {"signature": "ok", "checker": "ok", "inference": "ok"}


def test_renamed_output() -> None:
    after = model()
    after.graph.output[0].name = after.graph.node[0].output[0] = "z"
    assert signature_changes(model(), after) == ["outputs changed: y"]
    assert statuses(model(), after)["signature"] == "failed"


def test_changed_dtype_and_shape() -> None:
    after = model()
    after.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    after.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2
    assert signature_changes(model(), after) == ["inputs changed: x", "outputs changed: y"]


def test_renamed_symbol_counts() -> None:
    after = model()
    after.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "M"
    assert signature_changes(model(), after) == ["inputs changed: x"]


def test_order_counts() -> None:
    after = model()
    first, second = after.graph.input
    swapped = [ModelProto.FromString(b"").graph.input.add() for _ in range(2)]
    swapped[0].CopyFrom(second)
    swapped[1].CopyFrom(first)
    del after.graph.input[:]
    after.graph.input.extend(swapped)
    assert signature_changes(model(), after)[0].startswith("inputs changed")


def test_new_output_and_lost_input() -> None:
    after = model()
    del after.graph.input[1]
    after.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    inputs, outputs = signature_changes(model(), after)
    assert inputs == "inputs changed: w"
    assert outputs.startswith("outputs changed")
    assert "more" in outputs


def test_lost_default() -> None:
    after = model()
    del after.graph.initializer[:]
    assert signature_changes(model(), after) == ["input w lost its default"]


def test_metadata_is_no_part_of_the_signature() -> None:
    after = model()
    after.graph.input[0].doc_string = "other"
    after.graph.name = "other"
    assert signature_changes(model(), after) == []


def test_checker_finding_that_the_original_has_not() -> None:
    after = model()
    after.graph.node[0].input[1] = "nowhere"
    (row,) = (r for r in check_structure(model(), after) if r.what == "checker")
    assert row.status == "failed"
    assert "nowhere" in row.detail


def test_checker_finding_that_the_original_has_too() -> None:
    broken = model()
    broken.graph.node[0].input[1] = "nowhere"
    assert statuses(broken, broken) == {"signature": "ok", "checker": "ok", "inference": "ok"}


def test_checker_finding_of_another_kind_than_the_original_has() -> None:
    broken, other = model(), model()
    broken.graph.node[0].input[1] = "nowhere"
    other.graph.node[0].op_type = "Addd"
    assert statuses(broken, other)["checker"] == "failed"


def test_inference_finding_that_the_original_has_not() -> None:
    text = "g (float[N,4] x, float[4] w) => (float[N,4] y) { t = Add(x, w)\n y = Relu(t) }"
    before = parse(text, w=np.ones(4, np.float32))
    after = parse(text.replace("Add(x, w)", "MatMul(x, w)"), w=np.ones(4, np.float32))
    assert statuses(before, after)["inference"] == "failed"


@pytest.mark.parametrize("size", [4, 1 << 16])
def test_weights_are_not_needed(size: int) -> None:
    # A large one without its bytes: checker and inference see its type and shape alone.
    text = f"g (float[N,{size}] x) => (float[N,{size}] y) {{ y = Add(x, w) }}"
    large = parse(text, w=np.ones(size, np.float32))
    assert set(statuses(large, large).values()) == {"ok"}
    wrong = parse(text, w=np.ones((2, size + 1), np.float32))
    assert statuses(large, wrong)["inference"] == "failed"

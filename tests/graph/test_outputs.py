from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.errors import UsageError
from graphopt.graph.outputs import keep_outputs
from graphopt.model import Model
from tests.build import few, parse

W = np.ones(3, np.float32)
TEXT = """g (float[3] x) => (float[3] mean, float[3] spread, float[3] w, float[3] x2, float[3] x) {
    t = Neg(x)
    mean = Add(t, w)
    spread = Sub(mean, w)
    x2 = Relu(x)
}"""


def several() -> ModelProto:
    model = parse(TEXT, w=W)
    model.metadata_props.add(key="author", value="vendor")
    return model


def outputs(model: ModelProto) -> list[str]:
    return [info.name for info in model.graph.output]


@given(st.lists(st.sampled_from(["mean", "spread", "w", "x2", "x"]), min_size=1))
@few
def test_what_is_named_is_kept_in_the_models_order(names: list[str]) -> None:
    source = several()
    found = keep_outputs(Model(source), names).proto
    assert outputs(found) == [name for name in outputs(source) if name in names]
    assert found.graph.node == source.graph.node
    assert found.graph.initializer == source.graph.initializer
    assert found.metadata_props == source.metadata_props
    onnx.checker.check_model(found, full_check=True)
    once_more = keep_outputs(Model(found), names).proto
    assert once_more is found
    assert source == several()


def test_types_of_what_was_dropped_stay_known() -> None:
    """Of values that nodes compute: the other types are known without."""
    found = keep_outputs(Model(several()), ["x2"]).proto
    known = {info.name: info for info in found.graph.value_info}
    assert sorted(known) == ["mean", "spread"]
    assert known["mean"] == several().graph.output[0]


@pytest.mark.parametrize(
    ("names", "message", "words"),
    [
        (["x2", "maen"], "'maen' is not an output", ["'mean'", "`graphopt extract`"]),
        (["t"], "'t' is not an output", ["mean", "spread", "x2", "`graphopt extract`"]),
        ([], "no output is kept", ["mean", "spread", "x2"]),
    ],
)
def test_mistakes(names: list[str], message: str, words: list[str]) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        keep_outputs(Model(several()), names)
    assert all(word in (caught.value.hint or "") for word in words)

from __future__ import annotations

import numpy as np
import pytest
from onnx import TypeProto, helper

from graphopt.engine.changing import (
    SWITCHED_OFF,
    ProofOptions,
    change_report,
    described,
    hints,
    loaded_at_least,
    type_text,
)
from graphopt.errors import DataError, UsageError
from graphopt.model import Model
from graphopt.report import Verification
from graphopt.verify.data import check_data
from tests.build import parse

ADD = "g (float[N,3] x) => (float[N,3] y) { y = Add(x, w) }"


def adding(size: int = 3, name: str = "Add") -> Model:
    return Model(parse(ADD.replace("Add", name), w=np.ones(size, np.float32)))


def test_shapes_and_data_are_held_against_the_model() -> None:
    feeds = [{"x": np.ones((2, 3), np.float32)}]
    options = ProofOptions(
        seed=5, data=lambda specs: check_data(feeds, specs), shapes={"x": (4, 3)}, limit=7
    )
    found = options.for_model(adding().proto)
    assert (found.seed, found.shapes, found.limit) == (5, {"x": (4, 3)}, 7)
    assert found.data is not None
    assert len(found.data) == 1
    feeds[0]["x"] = np.ones((2, 4), np.float32)
    with pytest.raises(DataError, match="has shape"):
        options.for_model(adding().proto)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ProofOptions(shapes={"z": (4, 3)}), "no input of the model"),
        (ProofOptions(shapes={"x": (4, 5)}), r"input 'x' is \[N,3\], a shape of \[4,5\] is stated"),
        (ProofOptions(shapes={"x": (4,)}), r"a shape of \[4\] is stated"),
        (ProofOptions(seed=-1), "seed -1 is negative"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(options: ProofOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options.for_model(adding().proto)


def test_hints_know_types() -> None:
    (value,) = hints(adding()).inputs
    assert (value.name, value.shape) == ("x", ("N", 3))


def test_a_result_that_nothing_ran_is_loaded() -> None:
    good, bad = adding(), adding(2)
    found = loaded_at_least(SWITCHED_OFF, good, adding(1), ProofOptions())
    assert found.status == "not verified"
    assert found.note == "verification was switched off; it loads"
    found = loaded_at_least(SWITCHED_OFF, good, adding(name="Nothing"), ProofOptions())
    assert found.status == "failed"
    assert found.failures()[0].what == "loads"
    ran = Verification("not verified", "onnxruntime")
    assert loaded_at_least(ran, good, bad, ProofOptions()) is ran
    assert loaded_at_least(SWITCHED_OFF, good, good, ProofOptions()) is SWITCHED_OFF


def test_the_report_tells_the_signature() -> None:
    model = adding()
    outcome = Verification("not verified", "none", note="why")
    found = change_report("extract", model, model, ["one"], outcome, 3, 0.0)
    assert (found.action, found.status, found.changed, found.seed) == (
        "extract", "unverified", True, 3,
    )  # fmt: skip
    assert (found.inputs, found.outputs) == (("x float32[N,3]",), ("y float32[N,3]",))
    assert change_report("convert", model, model, [], outcome, 3, 0.0).changed is False


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (helper.make_tensor_type_proto(1, ["N", 3, None]), "float32[N,3,?]"),
        (helper.make_tensor_type_proto(11, []), "float64[]"),
        (helper.make_tensor_type_proto(7, None), "int64"),
        (helper.make_tensor_type_proto(99, [1]), "type 99[1]"),
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(9, [2])),
         "sequence of bool[2]"),
        (helper.make_optional_type_proto(helper.make_tensor_type_proto(10, [2])),
         "optional float16[2]"),
        (TypeProto(), "of unknown type"),
    ],
)  # fmt: skip
def test_types_for_people(kind: TypeProto, text: str) -> None:
    assert type_text(kind) == text
    assert described(helper.make_value_info("v", kind)) == f"v {text}"

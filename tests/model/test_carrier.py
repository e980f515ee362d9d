from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from graphopt.model import Model, load_model, tensor_from_array
from tests.build import RAMP, external_tensor, holding, parse

TEXT = "agraph (float[4] x) => (float[4] y) { y = Add(x, w) }"


def on_disk(folder: Path, content: bytes) -> Model:
    (folder / "model.onnx").write_bytes(content)
    return load_model(folder / "model.onnx")


def out_of_order() -> bytes:
    """A valid file that no serialiser writes: opset before graph, and an unknown field."""
    proto = parse(TEXT, w=np.ones(4, np.float32))
    opset = b"\x42\x02\x10\x11"
    unknown = b"\xfa\x3e\x05later"  # field 1007
    proto.ClearField("opset_import")
    return opset + unknown + proto.SerializeToString()


def test_an_unchanged_model_gives_its_files_own_bytes(tmp_path: Path) -> None:
    content = out_of_order()
    model = on_disk(tmp_path, content)
    assert model.to_bytes() == content
    assert model.to_bytes() != model.proto.SerializeToString(deterministic=True)


def test_a_file_that_changed_since_does_not_leak_into_the_model(tmp_path: Path) -> None:
    model = on_disk(tmp_path, out_of_order())
    for change in ("another file", None):
        if change is None:
            (tmp_path / "model.onnx").unlink()
        else:
            (tmp_path / "model.onnx").write_text(change)
        assert load_model(model.to_bytes()).proto == model.proto


def test_a_result_keeps_the_files_but_not_the_source(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(RAMP.tobytes())
    proto = holding(external_tensor("w", "w.bin", RAMP), "initializer")
    model = on_disk(tmp_path, proto.SerializeToString())
    changed = type(proto)()
    changed.CopyFrom(proto)
    changed.producer_name = "another"
    result = model.with_proto(changed)
    assert result.path is None
    assert load_model(result.to_bytes()).proto == changed
    np.testing.assert_array_equal(result.tensor(changed.graph.initializer[0]).array(), RAMP)


def test_opsets_name_the_standard_domain_one_way() -> None:
    for domain in ("", "ai.onnx"):
        proto = parse(TEXT)
        proto.opset_import[0].domain = domain
        proto.opset_import.add(domain="com.example", version=3)
        assert Model(proto).opsets == {"": 17, "com.example": 3}


def test_bytes_are_counted_wherever_the_tensors_lie(tmp_path: Path) -> None:
    proto = holding(external_tensor("w", "w.bin", RAMP), "body")
    proto.graph.initializer.append(tensor_from_array(np.zeros((3, 7), np.uint8), "b"))
    packed = TensorProto(name="p", data_type=TensorProto.INT4, dims=[5], raw_data=bytes(3))
    proto.graph.initializer.append(packed)
    (tmp_path / "w.bin").write_bytes(RAMP.tobytes())
    model = on_disk(tmp_path, proto.SerializeToString())
    assert model.has_external_data
    assert model.weight_bytes == 24 + 21 + 3
    assert model.file_bytes == (tmp_path / "model.onnx").stat().st_size + 24


def test_a_model_without_external_data_says_so() -> None:
    model = Model(parse(TEXT, w=np.ones(4, np.float32)))
    assert not model.has_external_data
    assert model.file_bytes == model.proto.ByteSize()

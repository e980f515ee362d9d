from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.errors import ExitCode, FileError, GraphoptError, ModelError
from graphopt.graph import annotate, build_program, export_program, graph_view, measure
from graphopt.model import Model, load_model
from graphopt.model.load import PROTOBUF_LIMIT
from tests.build import few, parse

TEXT = """
agraph (float[N, 4] x, bool c) => (float[N, 4] y) {
  s = MatMul(x, w)
  y = If (c) <
    then_branch = then_graph () => (float[N, 4] a) { a = Relu(s) },
    else_branch = else_graph () => (float[N, 4] b) { b = Neg(s) }
  >
}
"""


def example() -> ModelProto:
    return parse(TEXT, w=np.eye(4, dtype=np.float32))


def refused(path: Path) -> FileError:
    """Load a file that is no model; give the error, after checking what every one promises."""
    with pytest.raises(FileError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.BAD_FILE
    return caught.value


def test_load_reads_the_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    content = example().SerializeToString()
    path.write_bytes(content)
    for source in (path, str(path)):
        model = load_model(source)
        assert model.proto == example()
        assert model.path == path
        assert model.source is not None
        assert model.source.sha256 == hashlib.sha256(content).hexdigest()


def test_load_takes_bytes_and_a_proto() -> None:
    from_bytes = load_model(example().SerializeToString())
    assert from_bytes.proto == example()
    assert from_bytes.path is None
    proto = example()
    assert load_model(proto).proto is proto


def test_missing(tmp_path: Path) -> None:
    assert "no such file" in str(refused(tmp_path / "none.onnx"))
    assert "no such file" in str(refused(tmp_path / "folder" / "none.onnx"))


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    refused(tmp_path / "file" / "model.onnx")


def test_a_link_that_loops_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").symlink_to(tmp_path / "b.onnx")
    (tmp_path / "b.onnx").symlink_to(tmp_path / "a.onnx")
    refused(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"# Model card\n\nThis is not the model.\n", id="text"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", id="lfs"),
        pytest.param(b"PK\x03\x04" + bytes(64), id="zip"),
        pytest.param(bytes(4096), id="zeros"),
        pytest.param(b"<html><body>404</body></html>", id="html"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert isinstance(refused(path), ModelError)
    with pytest.raises(ModelError):
        load_model(content)


@few
@given(st.binary(max_size=400))
def test_random_bytes_are_a_model_or_refused(content: bytes) -> None:
    try:
        proto = load_model(content).proto
    except ModelError:
        return
    assert proto.HasField("graph") and proto.opset_import


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = example().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.parametrize("missing", ["graph", "ir_version", "opset_import"])
def test_a_header_that_lacks_a_part_is_refused(tmp_path: Path, missing: str) -> None:
    proto = example()
    proto.ClearField(missing)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    assert "not a whole ONNX model" in str(refused(path))
    with pytest.raises(ModelError, match="not a whole ONNX model"):
        load_model(proto)


def test_another_protobuf_message_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tensor.pb"
    path.write_bytes(onnx.numpy_helper.from_array(np.arange(1000), "t").SerializeToString())
    refused(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert "is a folder" in str(error)
    assert error.hint


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    assert "not a regular file" in str(refused(path))


def test_a_device_is_refused() -> None:
    refused(Path("/dev/zero"))


def test_a_file_beyond_the_protobuf_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    os.truncate(path, PROTOBUF_LIMIT + 1)  # a hole: nothing is on the disk
    error = refused(path)
    assert "2 GiB" in str(error)
    assert error.hint and "external data" in error.hint


def awkward() -> ModelProto:
    """Names in every place, each with a "Q" in it."""
    proto = parse(
        """<ir_version: 8, opset_import: ["": 17, "Qdomain": 1]>
        agraph (float[Qdim] Qx) => (float[Qdim] Qy) <float Qinfo> {
          [Qnode] Qs = Qdomain.Qcall<Qattribute = 1>(Qx)
          Qy = Add(Qs, Qsparse)
        }
        <domain: "Qdomain", opset_import: ["": 17]> Qcall <Qattribute> (Qv) => (Qr) {
          Qr = Softmax<axis: int = @Qattribute>(Qv)
        }"""
    )
    proto.functions[0].overload = proto.graph.node[0].overload = "Qoverload"
    sparse = proto.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "Qsparse"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.array([0]), ""))
    note = proto.graph.quantization_annotation.add(tensor_name="Qs")
    note.quant_parameter_tensor_names.add(key="Qkey", value="Qvalue")
    proto.graph.initializer.add(name="Qweight", data_type=1, dims=[0])
    proto.training_info.add().update_binding.add(key="Qweight", value="Qbound")
    return proto


def test_a_name_that_is_not_utf8_is_refused_or_carried() -> None:
    content = awkward().SerializeToString()
    places = [at for at in range(len(content)) if content[at : at + 1] == b"Q"]
    assert len(places) > 25
    refusals = 0
    for at in places:
        damaged = content[:at] + b"\xff" + content[at + 1 :]
        try:
            whole_way(load_model(damaged))
        except GraphoptError:
            refusals += 1
    assert refusals > 15


def nested_bodies(levels: int) -> bytes:
    """A file of bodies in bodies; protobuf itself refuses to build one beyond its own limit."""

    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        return (
            bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
            + content
        )

    graph = b""
    for _ in range(levels):
        graph = field(1, field(5, field(1, b"then_branch") + field(6, graph)) + field(4, b"If"))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


def test_bodies_nested_without_end_are_refused() -> None:
    assert load_model(nested_bodies(10)).proto.graph.node[0].op_type == "If"
    with pytest.raises(ModelError):
        load_model(nested_bodies(400))


def whole_way(model: Model) -> None:
    """What the engine does with a model before any pass runs."""
    program = build_program(model)
    annotate(program, model.proto)
    for scope in program.scopes():
        for node in graph_view(scope, program).nodes:
            assert node.label()
            assert node.attributes is not None
    measure(model)
    assert export_program(program) is model
    export_program(program, rebuild=True)


def mutated(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        kind, at = rng.random(), rng.randrange(len(damaged))
        if kind < 0.6:
            damaged[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif kind < 0.8:
            del damaged[at : at + rng.randint(1, 8)]
        else:
            damaged[at:at] = damaged[at : at + rng.randint(1, 8)]
    return bytes(damaged)


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_gives_a_graphopt_error_or_a_model(seed: int) -> None:
    content = example().SerializeToString()
    rng = random.Random(seed)
    survived = 0
    for _ in range(250):
        damaged = mutated(content, rng)
        try:
            whole_way(load_model(damaged))
        except GraphoptError as error:
            assert "\n" not in str(error)
        else:
            survived += 1
    assert survived, "no damaged file ever loads: the rest of this test checked nothing"

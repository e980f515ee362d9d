from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from onnx import TensorProto

from graphopt.errors import ExternalDataError
from graphopt.model import Model, load_model
from graphopt.model.external import BLOCK, ExternalFiles, ExternalRange
from graphopt.model.tensors import model_tensors
from tests.build import RAMP, external_tensor, holding

NBYTES = RAMP.nbytes


def loaded(folder: Path, tensor: TensorProto) -> Model:
    path = folder / "model.onnx"
    path.write_bytes(holding(tensor, "initializer").SerializeToString())
    return load_model(path)


def external_array(model: Model) -> object:
    (tensor,) = (t for t in model_tensors(model.proto) if t.data_location == TensorProto.EXTERNAL)
    return model.tensor(tensor).array().tolist()


def test_offset_reads_from_there(folder: Path) -> None:
    (folder / "w.bin").write_bytes(bytes(10) + RAMP.tobytes() + bytes(10))
    tensor = external_tensor("w", "w.bin", RAMP, offset=10, length=NBYTES)
    assert external_array(loaded(folder, tensor)) == RAMP.tolist()
    tensor = external_tensor("w", "w.bin", RAMP, offset=10)
    assert external_array(loaded(folder, tensor)) == RAMP.tolist()


def test_a_file_that_shrinks_after_the_check_is_an_error(folder: Path) -> None:
    model = loaded(folder, external_tensor("w", "w.bin", RAMP))
    os.truncate(folder / "w.bin", 8)
    with pytest.raises(ExternalDataError, match="changed while"):
        external_array(model)


def test_a_file_replaced_by_a_link_after_the_check_is_not_followed(folder: Path) -> None:
    model = loaded(folder, external_tensor("w", "w.bin", RAMP))
    (folder / "w.bin").unlink()
    (folder.parent / "secret.bin").write_bytes(bytes(NBYTES))
    (folder / "w.bin").symlink_to(folder.parent / "secret.bin")
    assert external_array(model) == RAMP.tolist()  # the descriptor opened first
    assert model.files is not None
    model.files.close()
    with pytest.raises(ExternalDataError, match="symbolic link"):
        external_array(model)


def test_a_file_that_becomes_a_link_between_look_and_open_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "link").symlink_to(folder.parent / "secret.bin")
    monkeypatch.setattr(Path, "is_symlink", lambda path: False)  # as if it came after the look
    with pytest.raises(ExternalDataError):
        loaded(folder, external_tensor("w", "link", RAMP))


def test_blocks_are_read_in_pieces_and_counted(tmp_path: Path) -> None:
    content = os.urandom(2 * BLOCK + 77)
    (tmp_path / "w.bin").write_bytes(content)
    files = ExternalFiles(tmp_path, tmp_path / "model.onnx")
    pieces = list(files.blocks(ExternalRange("w.bin", 5, None), len(content) - 5))
    assert [len(piece) for piece in pieces] == [BLOCK, BLOCK, 72]
    assert b"".join(pieces) == content[5:]
    assert files.bytes_read == len(content) - 5


def test_each_file_is_opened_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    system_open = os.open

    def counting(path: Path, *args: int) -> int:
        opened.append(str(path))
        return system_open(path, *args)

    monkeypatch.setattr(os, "open", counting)
    model = loaded(folder, external_tensor("w", "w.bin", RAMP))
    for _ in range(3):
        external_array(model)
    assert opened.count(str(folder / "w.bin")) == 1


def test_more_data_files_than_open_descriptors_allow(folder: Path) -> None:
    # torch.onnx.export writes one file a tensor: models have thousands.
    proto = holding(external_tensor("t0", "t0", RAMP), "initializer")
    proto.graph.initializer.extend(external_tensor(f"t{i}", f"t{i}", RAMP) for i in range(1, 200))
    for index in range(200):
        (folder / f"t{index}").write_bytes((RAMP + index).tobytes())
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 100, hard))
    try:
        model = load_model(folder / "model.onnx")
        tensors = [model.tensor(t) for t in model_tensors(model.proto)]
        first = [float(tensor.array()[0]) for tensor in tensors]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert first == list(range(200))

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from graphopt.errors import ExitCode, FileError, GraphoptError
from graphopt.model import Model, SaveOptions, load_model, save_model
from graphopt.model.tensors import model_tensors
from tests.build import PLACES, RAMP, Array, external_tensor, holding, parse

TEXT = "agraph (float[4] x) => (float[4] y) { y = Add(x, w) }"
EVERYTHING_OUT = SaveOptions(external_threshold=1)


def embedded(value: float = 1.0) -> Model:
    return Model(parse(TEXT, w=np.full(4, value, np.float32)))


def external(folder: Path, place: str = "initializer") -> Model:
    """A model on disk whose bytes lie in the user's own w.bin."""
    (folder / "w.bin").write_bytes(RAMP.tobytes())
    path = folder / "model.onnx"
    path.write_bytes(holding(external_tensor("w", "w.bin", RAMP), place).SerializeToString())
    return load_model(path)


def changed(model: Model, producer: str) -> Model:
    proto = type(model.proto)()
    proto.CopyFrom(model.proto)
    proto.producer_name = producer
    return model.with_proto(proto)


def arrays(model: Model) -> list[Array]:
    return [model.tensor(proto).array() for proto in model_tensors(model.proto)]


def data_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.data"))


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def refused(model: Model, target: Path) -> FileError:
    with pytest.raises(FileError) as caught:
        save_model(model, target)
    assert str(target) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.BAD_FILE
    return caught.value


def test_a_model_in_memory_is_written_and_read_back(tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    assert save_model(embedded(), str(target)) == target
    assert load_model(target).proto == embedded().proto
    assert names(tmp_path) == {"out.onnx"}


def test_an_unedited_model_is_copied_byte_for_byte(tmp_path: Path) -> None:
    content = embedded().proto.SerializeToString()
    odd = content + b"\xfa\x3e\x05later"
    (tmp_path / "in.onnx").write_bytes(odd)
    save_model(load_model(tmp_path / "in.onnx"), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == odd


@pytest.mark.parametrize("place", PLACES)
def test_external_data_goes_to_a_file_named_by_its_content(tmp_path: Path, place: str) -> None:
    model = external(tmp_path, place)
    (tmp_path / "out").mkdir()
    saved = load_model(save_model(model, tmp_path / "out" / "m.onnx"))
    (data,) = data_files(tmp_path / "out")
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    assert data.name == f"m.onnx.{digest[:16]}.data"
    for before, after in zip(arrays(model), arrays(saved), strict=True):
        np.testing.assert_array_equal(after, before)
    assert names(tmp_path) == {"model.onnx", "w.bin", "out"}


def test_large_tensors_start_on_a_page(tmp_path: Path) -> None:
    proto = parse(TEXT, w=np.ones(5, np.float32), big=np.ones(1 << 15), last=np.ones(1 << 15))
    saved = load_model(save_model(Model(proto), tmp_path / "m.onnx", EVERYTHING_OUT))
    offsets = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}["offset"]
        for tensor in saved.proto.graph.initializer
    }
    assert int(offsets["w"]) % 64 == 0
    assert int(offsets["big"]) % 4096 == int(offsets["last"]) % 4096 == 0


def test_the_threshold_chooses_and_strings_stay_inside(tmp_path: Path) -> None:
    proto = parse(TEXT, w=np.zeros(4, np.float32), big=np.zeros(100, np.float32))
    text = proto.graph.initializer.add(name="text", data_type=TensorProto.STRING, dims=[1])
    text.string_data.append(b"t" * 1000)
    options = SaveOptions(external_threshold=400)
    saved = load_model(save_model(Model(proto), tmp_path / "m.onnx", options)).proto
    outside = {t.name for t in saved.graph.initializer if t.external_data}
    assert outside == {"big"}
    assert [t.name for t in saved.graph.initializer] == ["w", "big", "text"]
    assert proto.graph.initializer[1].raw_data, "the model given must not change"


def test_values_in_typed_fields_move_outside_whole(tmp_path: Path) -> None:
    proto = parse(TEXT)
    proto.graph.initializer.add(name="w", data_type=1, dims=[4], float_data=[1, 2, 3, 4])
    saved = load_model(save_model(Model(proto), tmp_path / "m.onnx", EVERYTHING_OUT))
    (stored,) = saved.proto.graph.initializer
    assert not stored.float_data and stored.data_location == TensorProto.EXTERNAL
    np.testing.assert_array_equal(saved.tensor(stored).array(), [1, 2, 3, 4])


def test_by_default_weights_stay_where_the_source_had_them(tmp_path: Path) -> None:
    model = external(tmp_path)
    inside = numpy_helper.from_array(np.ones(1 << 16, np.float32), "inside")
    model.proto.graph.initializer.append(inside)
    saved = load_model(save_model(changed(model, "x"), tmp_path / "out.onnx")).proto
    assert {t.name: bool(t.external_data) for t in saved.graph.initializer} == {
        "w": True,
        "inside": False,
    }


def test_other_models_data_beside_the_target_is_left_alone(tmp_path: Path) -> None:
    first = save_model(embedded(1), tmp_path / "a.onnx", EVERYTHING_OUT)
    before = names(tmp_path)
    save_model(embedded(2), tmp_path / "b.onnx", EVERYTHING_OUT)
    assert before < names(tmp_path)
    assert arrays(load_model(first))[0].tolist() == [1, 1, 1, 1]


def test_a_superseded_data_file_of_ours_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    save_model(embedded(1), target, EVERYTHING_OUT)
    (former,) = data_files(tmp_path)
    save_model(embedded(2), target, EVERYTHING_OUT)
    (data,) = data_files(tmp_path)
    assert data != former
    assert names(tmp_path) == {"m.onnx", data.name}
    save_model(embedded(2), target)
    assert names(tmp_path) == {"m.onnx"}


def test_saving_the_same_again_keeps_its_data_file(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    save_model(embedded(), target, EVERYTHING_OUT)
    first = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    save_model(load_model(target), target)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == first


@pytest.mark.parametrize(
    "name", ["w.bin", "m.onnx.data", "m.onnx.0123456789ABCDEF.data", "x.onnx.0123456789abcdef.data"]
)
def test_a_data_file_the_user_named_is_never_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(RAMP.tobytes())
    target = tmp_path / "m.onnx"
    proto = holding(external_tensor("w", name, RAMP), "initializer")
    target.write_bytes(proto.SerializeToString())
    save_model(changed(load_model(target), "new"), target)
    assert (tmp_path / name).read_bytes() == RAMP.tobytes()
    assert arrays(load_model(target))[0].tolist() == RAMP.tolist()


def test_a_file_named_like_ours_that_the_target_did_not_use_is_left_alone(tmp_path: Path) -> None:
    stranger = tmp_path / "m.onnx.0123456789abcdef.data"
    stranger.write_bytes(b"not ours")
    save_model(embedded(1), tmp_path / "m.onnx", EVERYTHING_OUT)
    save_model(embedded(2), tmp_path / "m.onnx", EVERYTHING_OUT)
    assert stranger.read_bytes() == b"not ours"


def test_saving_over_the_models_own_external_data_is_refused(tmp_path: Path) -> None:
    model = external(tmp_path)
    refused(changed(model, "new"), tmp_path / "w.bin")
    assert arrays(load_model(tmp_path / "model.onnx"))[0].tolist() == RAMP.tolist()


def test_a_link_at_the_target_survives_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    real, link = tmp_path / "store" / "real.onnx", tmp_path / "link.onnx"
    link.symlink_to(real)
    for value in (1, 2):  # at first the link dangles
        written = save_model(embedded(value), link, EVERYTHING_OUT)
        assert written == real and link.is_symlink()
        assert arrays(load_model(written))[0].tolist() == [value] * 4
    assert names(tmp_path) == {"store", "link.onnx"}


def test_a_target_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "folder" in str(refused(embedded(), tmp_path))
    missing = refused(embedded(), tmp_path / "no" / "m.onnx")
    assert missing.hint and "create" in missing.hint
    refused(embedded(), tmp_path / "file" / "m.onnx")
    refused(embedded(), tmp_path / ("n" * 300 + ".onnx"))
    refused(embedded(), tmp_path / "loop")
    assert names(tmp_path) == {"file", "loop"}


def test_a_pipe_or_device_at_the_target_is_refused_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    refused(embedded(), pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_the_targets_permissions_are_kept(tmp_path: Path, mode: int) -> None:
    target = save_model(embedded(), tmp_path / "m.onnx")
    target.chmod(mode)
    save_model(embedded(2), target, EVERYTHING_OUT)
    assert stat.S_IMODE(target.stat().st_mode) == mode
    (data,) = data_files(tmp_path)
    assert stat.S_IMODE(data.stat().st_mode) & ~mode & 0o077 == 0, "the data is open to more users"


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    target = save_model(embedded(), tmp_path / "m.onnx")
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_weights_that_cannot_be_read_leave_the_target_whole(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    model = external(tmp_path / "in")
    os.truncate(tmp_path / "in" / "w.bin", 4)
    target = save_model(embedded(), tmp_path / "out.onnx")
    before = target.read_bytes()
    with pytest.raises(GraphoptError, match="changed while"):
        save_model(model, target)
    assert target.read_bytes() == before
    assert names(tmp_path) == {"in", "out.onnx"}


def test_a_model_given_without_its_folder_cannot_be_saved(tmp_path: Path) -> None:
    proto = holding(external_tensor("w", "w.bin", RAMP), "initializer")
    with pytest.raises(GraphoptError) as caught:
        save_model(load_model(proto), tmp_path / "m.onnx")
    assert caught.value.hint
    assert names(tmp_path) == set()


def test_the_file_name_states_the_content_alone(tmp_path: Path) -> None:
    pattern = re.compile(r"m\.onnx\.[0-9a-f]{16}\.data")
    seen = []
    for folder, value in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / folder).mkdir()
        save_model(embedded(value), tmp_path / folder / "m.onnx", EVERYTHING_OUT)
        (data,) = data_files(tmp_path / folder)
        assert pattern.fullmatch(data.name)
        seen.append(data.name)
    assert seen[0] == seen[1] != seen[2]

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto

from graphopt.errors import ExitCode, ExternalDataError, GraphoptError
from graphopt.model import Model, load_model
from graphopt.model.tensors import model_tensors
from tests.build import PLACES, RAMP, external_tensor, holding

NBYTES = RAMP.nbytes


def written(folder: Path, tensor: TensorProto, place: str = "initializer") -> Path:
    path = folder / "model.onnx"
    path.write_bytes(holding(tensor, place).SerializeToString())
    return path


def refused(path: Path, root: Path | None = None) -> ExternalDataError:
    """Load a model whose external data must not be read; check what every refusal promises."""
    with pytest.raises(ExternalDataError) as caught:
        load_model(path, external_data_root=root)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.BAD_FILE
    return caught.value


def external_array(model: Model) -> object:
    (tensor,) = (t for t in model_tensors(model.proto) if t.data_location == TensorProto.EXTERNAL)
    return model.tensor(tensor).array().tolist()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/w.bin", "sub//./w.bin"])
def test_bytes_beside_the_model_are_read(folder: Path, place: str, location: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "w.bin").write_bytes(RAMP.tobytes())
    model = load_model(written(folder, external_tensor("w", location, RAMP), place))
    assert external_array(model) == RAMP.tolist()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "sub/../../secret.bin",
        "/etc/hostname",
        "//etc/hostname",
        "..\\secret.bin",
        "sub\\..\\..\\secret.bin",
        "\\secret.bin",
        "C:\\secret.bin",
        "C:secret.bin",
        "\\\\server\\share\\secret.bin",
        "w.bin\0",
    ],
)
def test_a_location_that_leaves_the_folder_is_refused(
    folder: Path, place: str, location: str
) -> None:
    path = written(folder, external_tensor("w", location, RAMP), place)
    assert "leaves the model's folder" in str(refused(path))
    assert "leaves the model's folder" in str(refused(path, folder.parent))


def symlink(folder: Path) -> None:
    (folder / "bad").symlink_to(folder.parent / "secret.bin")


def symlink_inside(folder: Path) -> None:
    (folder / "bad").symlink_to(folder / "w.bin")


def linked_folder(folder: Path) -> None:
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "w.bin").write_bytes(RAMP.tobytes())
    (folder / "bad").symlink_to(folder.parent / "other")


def hard_link(folder: Path) -> None:
    os.link(folder.parent / "secret.bin", folder / "bad")


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "bad")


def directory(folder: Path) -> None:
    (folder / "bad").mkdir()


def dangling(folder: Path) -> None:
    (folder / "bad").symlink_to(folder / "nothing")


def loop(folder: Path) -> None:
    (folder / "bad").symlink_to(folder / "bad")


def missing(folder: Path) -> None:
    assert not (folder / "bad").exists()


def through_a_file(folder: Path) -> None:
    (folder / "bad").write_bytes(RAMP.tobytes())


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "symlink": (symlink, "bad"),
    "symlink inside": (symlink_inside, "bad"),
    "linked folder": (linked_folder, "bad/w.bin"),
    "hard link": (hard_link, "bad"),
    "fifo": (fifo, "bad"),
    "directory": (directory, "bad"),
    "the folder itself": (directory, "."),
    "dangling link": (dangling, "bad"),
    "looped link": (loop, "bad"),
    "missing": (missing, "bad"),
    "missing folder": (missing, "bad/w.bin"),
    "through a file": (through_a_file, "bad/w.bin"),
    "name too long": (missing, "n" * 5000),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_plain_file_is_refused(folder: Path, place: str, kind: str) -> None:
    prepare, location = HOSTILE[kind]
    prepare(folder)
    refused(written(folder, external_tensor("w", location, RAMP), place))


@pytest.mark.parametrize("kind", ["fifo", "directory", "dangling link", "looped link", "missing"])
def test_an_allowed_root_does_not_let_these_pass(folder: Path, kind: str) -> None:
    prepare, location = HOSTILE[kind]
    prepare(folder)
    refused(written(folder, external_tensor("w", location, RAMP)), folder.parent)


@pytest.mark.parametrize("kind", ["symlink", "symlink inside", "linked folder", "hard link"])
def test_an_allowed_root_lets_links_inside_it_pass(folder: Path, kind: str) -> None:
    prepare, location = HOSTILE[kind]
    prepare(folder)
    path = written(folder, external_tensor("w", location, RAMP))
    hint = refused(path).hint
    assert hint and "--external-data-root" in hint
    assert external_array(load_model(path, external_data_root=folder.parent)) == RAMP.tolist()


@pytest.mark.parametrize("kind", ["symlink", "linked folder"])
def test_a_link_out_of_the_allowed_root_is_refused(folder: Path, kind: str) -> None:
    prepare, location = HOSTILE[kind]
    prepare(folder)
    refused(written(folder, external_tensor("w", location, RAMP)), folder)


def test_an_allowed_root_that_is_a_looped_link_is_one_clear_error(folder: Path) -> None:
    loop(folder)
    (folder / "link").symlink_to(folder / "w.bin")
    refused(written(folder, external_tensor("w", "link", RAMP)), folder / "bad")


def test_the_models_folder_may_itself_be_reached_by_a_link(folder: Path) -> None:
    written(folder, external_tensor("w", "w.bin", RAMP))
    (folder.parent / "link").symlink_to(folder)
    model = load_model(folder.parent / "link" / "model.onnx")
    assert external_array(model) == RAMP.tolist()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"offset": -4}, "negative"),
        ({"length": -1}, "negative"),
        ({"offset": "four"}, "not a number"),
        ({"length": "0x18"}, "not a number"),
        ({"offset": "1e1"}, "not a number"),
        ({"offset": "9" * 5000}, "not a number"),
        ({"offset": 4}, "truncated"),
        ({"offset": NBYTES + 1}, "truncated"),
        ({"offset": 1 << 80}, "truncated"),
        ({"length": NBYTES + 1}, "truncated"),
        ({"length": 1 << 80}, "truncated"),
        ({"offset": 4, "length": NBYTES}, "truncated"),
        ({"length": NBYTES - 4}, ""),
        ({"length": 0}, ""),
    ],
)
def test_offset_and_length_must_lie_in_the_file_and_fit_the_shape(
    folder: Path, place: str, entries: dict[str, object], words: str
) -> None:
    tensor = external_tensor("weight", "w.bin", RAMP, **entries)
    message = str(refused(written(folder, tensor, place)))
    assert words in message
    assert "'weight'" in message


def test_a_length_longer_than_the_shape_needs_is_refused(folder: Path) -> None:
    (folder / "w.bin").write_bytes(bytes(100))
    message = str(refused(written(folder, external_tensor("w", "w.bin", RAMP, length=100))))
    assert "states 100 bytes" in message and f"need {NBYTES}" in message


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_is_too_short_is_refused(folder: Path, place: str) -> None:
    for size in (0, 1, NBYTES - 1):
        (folder / "w.bin").write_bytes(bytes(size))
        refused(written(folder, external_tensor("w", "w.bin", RAMP), place))


def test_no_location_is_refused(folder: Path) -> None:
    tensor = external_tensor("w", "", RAMP)
    assert "names no location" in str(refused(written(folder, tensor)))
    tensor.ClearField("external_data")
    assert "names no location" in str(refused(written(folder, tensor)))


def test_a_location_or_key_that_is_not_utf8_is_refused(folder: Path) -> None:
    path = written(folder, external_tensor("w", "w.bin", RAMP, offset=0))
    content = path.read_bytes()
    for word in (b"w.bin", b"location", b"offset"):
        path.write_bytes(content.replace(word, word[:-1] + b"\xff"))
        with pytest.raises(GraphoptError) as caught:
            load_model(path)
        assert str(path) in str(caught.value)


def test_dimensions_that_multiply_beyond_64_bits_are_refused(folder: Path) -> None:
    tensor = external_tensor("w", "w.bin", RAMP)
    tensor.dims[:] = [1 << 32, 1 << 32]
    refused(written(folder, tensor))

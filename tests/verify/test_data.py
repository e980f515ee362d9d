from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.errors import DataError
from graphopt.verify.data import MAX_SETS, load_data
from graphopt.verify.inputs import Feeds, InputSpec

F32 = np.dtype(np.float32)
X = InputSpec("x", F32, ("N", 3))
IDS = InputSpec("ids", np.dtype(np.int64), ("N",))
WORDS = InputSpec("words", np.dtype(object), ("N",))
ONE = np.arange(6, dtype=np.float32).reshape(2, 3)


def load(path: Path, *specs: InputSpec) -> list[Feeds]:
    return load_data(path, specs or (X,))


def refusal(path: Path, *specs: InputSpec) -> DataError:
    with pytest.raises(DataError) as caught:
        load(path, *specs)
    assert caught.value.file == str(path)
    assert "\n" not in str(caught.value)
    return caught.value


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def test_npz_by_input_name(tmp_path: Path) -> None:
    (feeds,) = load(npz(tmp_path, x=ONE, ids=np.array([1, 2])), X, IDS)
    assert set(feeds) == {"x", "ids"}
    assert (feeds["x"] == ONE).all()


def test_npy_for_a_single_input(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ONE)
    (feeds,) = load(tmp_path / "one.npy")
    assert (feeds["x"] == ONE).all()


def test_npy_for_several_inputs_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ONE)
    error = refusal(tmp_path / "one.npy", X, IDS)
    assert error.message == "is one array, the model has 2 inputs"
    assert error.hint == "give an .npz with x, ids"


def test_folder_in_the_order_of_names(tmp_path: Path) -> None:
    for name, value in (("b.npz", 2), ("a.npy", 1)):
        array = np.full((1, 3), value, np.float32)
        if name.endswith(".npy"):
            np.save(tmp_path / name, array)
        else:
            np.savez(tmp_path / name, x=array)
    (tmp_path / "notes.txt").write_text("not data")
    assert [feeds["x"][0, 0] for feeds in load(tmp_path)] == [1, 2]


def test_folder_is_read_up_to_a_limit(tmp_path: Path) -> None:
    for index in range(MAX_SETS + 3):
        np.save(tmp_path / f"{index:03}.npy", ONE)
    assert len(load(tmp_path)) == MAX_SETS


def test_empty_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path).message == "holds no .npz or .npy file"


def test_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.npz").message == "no such file or folder"


def test_open_dimension_takes_any_size_a_fixed_one_does_not(tmp_path: Path) -> None:
    assert load(npz(tmp_path, x=np.zeros((9, 3), np.float32)))
    error = refusal(npz(tmp_path, x=np.zeros((9, 4), np.float32)))
    assert "'x' has shape (9, 4)" in error.message
    assert "(9, 3, 1)" in refusal(npz(tmp_path, x=np.zeros((9, 3, 1), np.float32))).message


def test_unknown_name_lists_the_inputs(tmp_path: Path) -> None:
    error = refusal(npz(tmp_path, x=ONE, other=ONE))
    assert error.message == "'other' is no input of the model"
    assert error.hint == "inputs: x"


def test_missing_input(tmp_path: Path) -> None:
    assert refusal(npz(tmp_path, x=ONE), X, IDS).message == "input 'ids' is missing"


def test_other_dtype(tmp_path: Path) -> None:
    error = refusal(npz(tmp_path, x=ONE.astype(np.float64)))
    assert error.message == "'x' is float64, the model takes float32"


def test_other_byte_order_is_refused_or_converted(tmp_path: Path) -> None:
    try:
        (feeds,) = load(npz(tmp_path, x=ONE.astype(">f4")))
    except DataError:
        return
    assert feeds["x"].dtype.isnative
    assert (feeds["x"] == ONE).all()


def test_strings(tmp_path: Path) -> None:
    # numpy stores text as <U, and that is how a user will have it.
    (feeds,) = load(npz(tmp_path, words=np.array(["one", "two"])), WORDS)
    assert feeds["words"].dtype == np.dtype(object)
    assert feeds["words"].tolist() == ["one", "two"]


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (touched,)

    np.save(tmp_path / "bomb.npy", np.array([Bomb()], object), allow_pickle=True)
    refusal(tmp_path / "bomb.npy")
    refusal(npz(tmp_path, x=np.array([Bomb()], object)))
    assert not touched.exists()


DAMAGED = {
    "text.npy": b"hello",
    "pickle.npy": b"\x80\x04N.",
    "short.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'",
    "empty.npz": b"",
    "text.npz": b"PK\x03\x04 no zip",
}


@pytest.mark.parametrize("name", list(DAMAGED))
def test_damaged_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    assert "cannot be read" in refusal(path).message


def test_damaged_compressed_member(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.zeros((10000, 3), np.float32))
    content = bytearray(path.read_bytes())
    for position in range(60, 90):
        content[position] ^= 0xFF
    path.write_bytes(content)
    refusal(path)


def test_member_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "just text")
    refusal(path)


def test_truncated_array(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((1000, 3), np.float32))
    content = (tmp_path / "one.npy").read_bytes()
    (tmp_path / "one.npy").write_bytes(content[:500])
    refusal(tmp_path / "one.npy")

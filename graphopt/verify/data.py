"""The user's sample data: .npz, .npy, or a folder of them; one file is one input set."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from graphopt.errors import DataError
from graphopt.verify.inputs import Feeds, InputSpec

_UNREADABLE = (
    OSError, ValueError, BadZipFile, EOFError, zlib.error, KeyError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
MAX_SETS = 64
"""Input sets read from a folder; verification needs few."""


def load_data(path: Path, specs: Sequence[InputSpec]) -> list[Feeds]:
    """Read input sets and check that they fit the model.

    Args:
        path: An .npz (arrays by input name), an .npy (a model with one input), or a folder of such
            files, read in the order of their names.
        specs: The inputs that must be fed.

    Raises:
        DataError: A file cannot be read, or an input is missing, unknown, or of another dtype or
            shape.
    """
    files = _files(path)
    return [_checked(_arrays(file, specs), specs, file) for file in files]


def check_data(data: object, specs: Sequence[InputSpec]) -> list[Feeds]:
    """Check input sets that a caller gives in Python.

    Raises:
        DataError: They are no sequence of mappings, or do not fit the model.
    """
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        raise DataError("data is no sequence of input sets", hint="give [{input name: array}]")
    sets: list[Feeds] = []
    for number, feeds in enumerate(data):
        if not isinstance(feeds, Mapping):
            raise DataError("an input set is no mapping", hint="give [{input name: array}]")
        given = {
            name: value if isinstance(value, list) else np.asarray(value)
            for name, value in feeds.items()
        }
        sets.append(_checked(given, specs, f"input set {number}"))
    return sets


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix in (".npz", ".npy"))[:MAX_SETS]
        if not found:
            raise DataError("holds no .npz or .npy file", file=path)
        return found
    if not path.exists():
        raise DataError("no such file or folder", file=path)
    return [path]


def _arrays(file: Path, specs: Sequence[InputSpec]) -> Feeds:
    try:
        # Arrays of Python objects would be unpickled, and pickles run code.
        loaded = np.load(file, allow_pickle=False)
    except _UNREADABLE as error:
        raise DataError(f"cannot be read as .npz or .npy: {error}", file=file) from error
    if isinstance(loaded, np.ndarray):
        if len(specs) != 1:
            names = ", ".join(spec.name for spec in specs)
            raise DataError(
                f"is one array, the model has {len(specs)} inputs",
                file=file,
                hint=f"give an .npz with {names}",
            )
        return {specs[0].name: loaded}
    with loaded:
        try:
            arrays = {name: loaded[name] for name in loaded.files}
        except _UNREADABLE as error:
            raise DataError(f"cannot be read: {error}", file=file) from error
    odd = next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), None)
    if odd is not None:
        raise DataError(f"{odd!r} in it is no array", file=file)
    return arrays


def _checked(feeds: Feeds, specs: Sequence[InputSpec], file: Path | str) -> Feeds:
    wanted = {spec.name: spec for spec in specs}
    for name in feeds:
        if name not in wanted:
            raise DataError(
                f"{name!r} is no input of the model", file=file, hint=f"inputs: {', '.join(wanted)}"
            )
    for name, spec in wanted.items():
        if name not in feeds:
            raise DataError(f"input {name!r} is missing", file=file)
        array = feeds[name]
        if spec.is_sequence or not isinstance(array, np.ndarray):
            continue
        if spec.dtype is not None and spec.dtype.kind == "O" and array.dtype.kind in "US":
            array = feeds[name] = array.astype(str).astype(object)
        if spec.dtype is not None and array.dtype != spec.dtype:
            raise DataError(f"{name!r} is {array.dtype}, the model takes {spec.dtype}", file=file)
        if spec.shape is not None and not _fits(array.shape, spec.shape):
            raise DataError(
                f"{name!r} has shape {array.shape}, the model takes {spec.shape}", file=file
            )
    return feeds


def _fits(shape: tuple[int, ...], stated: tuple[int | str | None, ...]) -> bool:
    return len(shape) == len(stated) and all(
        not isinstance(dim, int) or dim == size for size, dim in zip(shape, stated, strict=True)
    )

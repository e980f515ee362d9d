"""Writing a model so that a user's files are whole whatever happens meanwhile.

The protocol: external weights go to `OUT.<digest>.data` beside the target (temporary name, flush
to disk, rename; the name states the content, so that no other model's data is ever replaced). Then
the .onnx goes to a temporary name, is flushed, reloaded and checked, and renamed over the target:
that rename is the only commit point. A data file which the former target used, and which graphopt
had named, is removed last.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from onnx import ModelProto, TensorProto

from graphopt.errors import FileError, GraphoptError
from graphopt.model.carrier import Model
from graphopt.model.load import PROTOBUF_LIMIT, load_model
from graphopt.model.tensors import data_locations, model_tensors

_PAGE = 4096
_LARGE = 1 << 16


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """How to write a model.

    Attributes:
        external_threshold: Tensors of at least so many bytes go to the data file. None leaves
            every weight where the model has it, unless it would not fit into one protobuf.
        on_step: Called with the name of each step of the protocol, for tests that interrupt it.
    """

    external_threshold: int | None = None
    on_step: Callable[[str], None] = lambda step: None


def save_model(model: Model, path: str | Path, options: SaveOptions | None = None) -> Path:
    """Write `model` to `path`; the former file stays whole until the new one is complete.

    Returns:
        The path written: a link is followed, so that the link itself survives.

    Raises:
        FileError: The target cannot be written.
        ModelError: The weights cannot be read.
    """
    options = options or SaveOptions()
    target = Path(path)
    try:
        target = target.resolve() if target.is_symlink() else target
        _check_target(model, target)
        _remove_stale(target)
        _commit(model, target, options)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"cannot be written: {reason}", file=target) from error
    return target


def _check_target(model: Model, target: Path) -> None:
    if target.is_dir():
        raise FileError("is a folder", file=target, hint="name the output file")
    if target.is_symlink():  # resolved already: Python 3.13 gives a loop back as it is
        raise FileError("is a link that leads to itself", file=target)
    if target.exists() and not target.is_file():
        raise FileError("is not a regular file", file=target)
    if model.files is None or not target.exists():
        return
    for location in sorted(data_locations(model.proto)):
        data = model.files.folder / location
        if data.exists() and data.samefile(target):
            raise FileError("is the model's own external data", file=target)


def _commit(model: Model, target: Path, options: SaveOptions) -> None:
    former = _own_data_files(target)
    external = _external_tensors(model, options)
    data_name = None
    with contextlib.ExitStack() as cleanup:
        if external:
            data_name, proto = _write_data(model, target, external, cleanup, options)
            content = bytes(proto.SerializeToString(deterministic=True))
        else:
            content = model.to_bytes()
        temporary = _temporary(target)
        cleanup.callback(_unlink, temporary)
        with _create(temporary) as stream:
            options.on_step("write model")
            stream.write(content)
            _flush(stream)
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        load_model(temporary)
        options.on_step("replace model")
        temporary.replace(target)
        cleanup.pop_all()
    options.on_step("remove former data")
    _sync_folder(target.parent)
    for stale in former - {data_name}:
        _unlink(target.parent / stale)


def _external_tensors(model: Model, options: SaveOptions) -> set[int]:
    """Indices, in the order of model_tensors, of the tensors that go to the data file."""
    threshold = options.external_threshold
    if threshold is None and model.proto.ByteSize() > PROTOBUF_LIMIT - _LARGE:
        threshold = _LARGE
    chosen = set()
    for index, proto in enumerate(model_tensors(model.proto)):
        if proto.data_location == TensorProto.EXTERNAL or (
            threshold is not None
            and proto.data_type != TensorProto.STRING
            and model.tensor(proto).nbytes >= threshold
        ):
            chosen.add(index)
    return chosen


def _write_data(
    model: Model,
    target: Path,
    external: set[int],
    cleanup: contextlib.ExitStack,
    options: SaveOptions,
) -> tuple[str, ModelProto]:
    """Write the data file; give its name and the model that refers to it."""
    temporary = _temporary(target, ".data")
    cleanup.callback(_unlink, temporary)
    hasher = hashlib.sha256()
    places: dict[int, tuple[int, int]] = {}
    with _create(temporary) as stream:
        options.on_step("write data")
        position = 0
        for index, proto in enumerate(model_tensors(model.proto)):
            if index not in external:
                continue
            tensor = model.tensor(proto)
            alignment = _PAGE if tensor.nbytes >= _LARGE else 64
            padding = -position % alignment
            for block in _padded(padding, tensor.blocks()):
                stream.write(block)
                hasher.update(block)
            position += padding
            places[index] = (position, tensor.nbytes)
            position += tensor.nbytes
        _flush(stream)
    name = f"{target.name}.{hasher.hexdigest()[:16]}.data"
    options.on_step("rename data")
    final = target.parent / name
    existed = final.exists()
    if target.exists():
        temporary.chmod(target.stat().st_mode & 0o666)
    temporary.replace(final)
    if not existed:
        cleanup.callback(_unlink, final)
    return name, _referring(model.proto, places, name)


def _padded(padding: int, blocks: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    if padding:
        yield b"\0" * padding
    yield from blocks


def _referring(proto: ModelProto, places: dict[int, tuple[int, int]], name: str) -> ModelProto:
    result = ModelProto()
    result.CopyFrom(proto)
    for index, tensor in enumerate(model_tensors(result)):
        if index not in places:
            continue
        offset, length = places[index]
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data",
                      "uint64_data", "external_data"):  # fmt: skip
            tensor.ClearField(field)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", name), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
    return result


def _own_data_files(target: Path) -> set[str]:
    """Data files that the model at `target` uses and that graphopt had named for it."""
    pattern = re.compile(re.escape(target.name) + r"\.[0-9a-f]{16}\.data")
    if not any(pattern.fullmatch(entry.name) for entry in target.parent.iterdir()):
        return set()  # no need to read the former model
    try:
        proto = load_model(target).proto
    except GraphoptError:
        return set()
    return {name for name in data_locations(proto) if pattern.fullmatch(name)}


def _temporary(target: Path, suffix: str = "") -> Path:
    return target.parent / f".{target.name}.graphopt-{os.getpid()}{suffix}.tmp"


def _remove_stale(target: Path) -> None:
    """Remove what a killed process left beside the target."""
    pattern = re.compile(r"\." + re.escape(target.name) + r"\.graphopt-(\d+)(\.data)?\.tmp")
    folder = target.parent
    if not folder.is_dir():
        raise FileError("its folder does not exist", file=target, hint=f"create {folder}")
    for entry in folder.iterdir():
        found = pattern.fullmatch(entry.name)
        if found and not _alive(int(found.group(1))):
            _unlink(entry)


def _alive(pid: int) -> bool:
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _create(path: Path) -> BinaryIO:
    # O_EXCL: a file or link that somebody put under the temporary name is never written through.
    _unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "wb")


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems refuse to sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)

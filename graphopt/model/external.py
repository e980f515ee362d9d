"""External data: bytes beside the model, read by position, from files checked before use.

A model file is untrusted. A location may not leave the model's folder, and what it names must be
one regular file that no link leads to; model caches do link their files, so links that resolve
inside `allowed_root` pass. Files are never mapped: one that shrinks meanwhile would kill the
process, and mapped pages count as memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from onnx import TensorProto

from graphopt.errors import ExternalDataError

BLOCK = 1 << 20
"""Bytes read at a time, so that memory stays flat however large a tensor is."""

_LINK_HINT = "pass --external-data-root DIR if the link stays inside DIR, or copy the file"


OPEN_FILES = 64
"""Descriptors kept open at a time."""


@dataclass(frozen=True, slots=True)
class _Identity:
    device: int
    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class ExternalRange:
    """Where a tensor's bytes lie: file name as the model states it, offset and length in bytes."""

    location: str
    offset: int
    length: int | None

    @classmethod
    def of(cls, tensor: TensorProto, model_file: object) -> ExternalRange:
        """Read the external_data entries of a tensor.

        Raises:
            ExternalDataError: An entry is missing, not a number, or negative.
        """
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if not location:
            raise ExternalDataError(
                f"tensor {tensor.name!r} is external but names no location", file=model_file
            )
        try:
            offset = int(entries.get("offset") or 0)
            length = int(entries["length"]) if entries.get("length") else None
        except ValueError as error:
            raise ExternalDataError(
                f"tensor {tensor.name!r}: offset or length is not a number", file=model_file
            ) from error
        if offset < 0 or (length is not None and length < 0):
            raise ExternalDataError(
                f"tensor {tensor.name!r}: offset or length is negative", file=model_file
            )
        return cls(location, offset, length)


class ExternalFiles:
    """The external data files of one model, each opened once and checked.

    Args:
        folder: The model's folder.
        model_file: The model's path, for error messages.
        allowed_root: Links are followed where they resolve inside this folder.
    """

    def __init__(self, folder: Path, model_file: Path, allowed_root: Path | None = None) -> None:
        self._open: dict[str, int] = {}
        self._seen: dict[str, _Identity] = {}
        self.folder = folder
        self.model_file = model_file
        self._root = None if allowed_root is None else _resolved(allowed_root, model_file)
        self.bytes_read = 0

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor; a later read opens its file again."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def size(self, location: str) -> int:
        """Bytes in the file at `location`.

        Raises:
            ExternalDataError: The location is not one that may be read.
        """
        self._descriptor(location)
        return self._seen[location].size

    def check(self, where: ExternalRange, nbytes: int, tensor: str) -> None:
        """Check that a tensor's bytes lie inside the file and are as many as its shape needs.

        Raises:
            ExternalDataError: They are not.
        """
        size = self.size(where.location)
        length = size - where.offset if where.length is None else where.length
        if where.offset + length > size or length < nbytes:
            raise ExternalDataError(
                f"{where.location}: tensor {tensor!r} needs {nbytes} bytes at offset "
                f"{where.offset}, the file has {size}; it is truncated or not this model's",
                file=self.model_file,
            )
        if where.length is not None and where.length != nbytes:
            raise ExternalDataError(
                f"{where.location}: tensor {tensor!r} states {where.length} bytes, its shape and "
                f"dtype need {nbytes}",
                file=self.model_file,
            )

    def blocks(self, where: ExternalRange, nbytes: int) -> Iterator[bytes]:
        """Yield `nbytes` bytes from `where` in blocks.

        Raises:
            ExternalDataError: The file ends early (it changed after it was checked).
        """
        descriptor = self._descriptor(where.location)
        position, end = where.offset, where.offset + nbytes
        while position < end:
            wanted = min(BLOCK, end - position)
            try:
                block = _read_at(descriptor, wanted, position)
            except OSError as error:
                raise ExternalDataError(
                    f"{where.location}: {error.strerror}", file=self.model_file
                ) from error
            if not block:
                raise ExternalDataError(
                    f"{where.location}: ended at byte {position}, {end} were promised; "
                    "it changed while graphopt read it",
                    file=self.model_file,
                )
            self.bytes_read += len(block)
            position += len(block)
            yield block

    def _descriptor(self, location: str) -> int:
        if location not in self._open:
            # Exporters write a file per tensor: keep few of them open, the latest ones.
            while len(self._open) >= OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[location] = self._open_checked(location)
        return self._open[location]

    def _open_checked(self, location: str) -> int:
        parts = _safe_parts(location, self.model_file)
        try:
            descriptor = self._open_parts(parts, location)
        except FileNotFoundError as error:
            raise ExternalDataError(
                f"external data file {location!r} is missing from {self.folder}",
                file=self.model_file,
                hint="copy it beside the model",
            ) from error
        except OSError as error:
            raise ExternalDataError(
                f"external data file {location!r}: {error.strerror}", file=self.model_file
            ) from error
        status = os.fstat(descriptor)
        problem = None
        if not stat.S_ISREG(status.st_mode):
            problem = "is not a regular file"
        elif status.st_nlink > 1 and self._root is None:
            problem = "is a hard link"
        if problem:
            os.close(descriptor)
            raise ExternalDataError(
                f"external data file {location!r} {problem}", file=self.model_file, hint=_LINK_HINT
            )
        identity = _Identity(status.st_dev, status.st_ino, status.st_size)
        if self._seen.setdefault(location, identity) != identity:
            os.close(descriptor)
            raise ExternalDataError(
                f"external data file {location!r} changed while graphopt read it",
                file=self.model_file,
            )
        return descriptor

    def _open_parts(self, parts: list[str], location: str) -> int:
        path = self.folder.joinpath(*parts)
        linked = next(
            (p for p in (self.folder.joinpath(*parts[: i + 1]) for i in range(len(parts)))
             if p.is_symlink()),
            None,
        )  # fmt: skip
        if linked is not None:
            target = None if self._root is None else _resolved(path, self.model_file)
            if self._root is None or target is None or not target.is_relative_to(self._root):
                raise ExternalDataError(
                    f"external data file {location!r} is a symbolic link",
                    file=self.model_file,
                    hint=_LINK_HINT,
                )
            path = target
        # O_NONBLOCK: opening a FIFO must not wait for a writer. O_NOFOLLOW: the last component
        # may have become a link since it was looked at.
        flags = os.O_RDONLY
        for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
            flags |= getattr(os, name, 0)
        return os.open(path, flags)


def _resolved(path: Path, model_file: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # Python 3.11 raises RuntimeError for a loop
        raise ExternalDataError(f"{path} cannot be resolved: {error}", file=model_file) from error


def _safe_parts(location: str, model_file: Path) -> list[str]:
    windows = PureWindowsPath(location)
    parts = location.replace("\\", "/").split("/")
    absolute = location.startswith(("/", "\\")) or bool(windows.drive)
    if absolute or ".." in parts or "\0" in location:
        raise ExternalDataError(
            f"external data location {location!r} leaves the model's folder", file=model_file
        )
    return [part for part in parts if part not in ("", ".")]


def _read_at(descriptor: int, length: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, length, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, length)

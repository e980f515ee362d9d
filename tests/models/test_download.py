from __future__ import annotations

import functools
import hashlib
import http.server
import io
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from unearth import Link, PackageFinder

from models import download as module
from models.catalog import Distribution
from models.download import download, make_finder
from models.errors import ModelError
from models.pip_settings import PipSettings

WHEEL = Distribution("graphopt-test-thing", "1.0", "wheel")
SDIST = Distribution("graphopt-test-thing", "1.0", "sdist")

# Whoever builds or imports the package leaves this file behind.
TRAP = "from pathlib import Path; Path({!r}).touch()\n"


def add_file(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text)
    archive.addfile(member, io.BytesIO(text.encode()))


def use(monkeypatch: pytest.MonkeyPatch, settings: PipSettings) -> None:
    monkeypatch.setattr(module, "read_pip_settings", lambda: settings)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    for scheme in ("http", "https", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel for another platform and an sdist, and nowhere else to look."""
    folder = tmp_path / "links"
    folder.mkdir()
    trap = TRAP.format(str(tmp_path / "executed"))
    with zipfile.ZipFile(folder / "graphopt_test_thing-1.0-cp27-cp27m-win32.whl", "w") as wheel:
        wheel.writestr("graphopt_test_thing/__init__.py", trap)
    with tarfile.open(folder / "graphopt-test-thing-1.0.tar.gz", "w:gz") as sdist:
        add_file(sdist, "graphopt-test-thing-1.0/setup.py", trap)
        add_file(sdist, "graphopt-test-thing-1.0/graphopt_test_thing/__init__.py", trap)
    use(monkeypatch, PipSettings(no_index=True, find_links=(str(folder),)))
    return folder


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a package index on this machine serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        use(monkeypatch, PipSettings(index_url=f"http://127.0.0.1:{running.server_port}/simple"))
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder
        running.shutdown()
        thread.join()


def publish(folder: Path, content: bytes, sha256: str) -> None:
    name = "graphopt_test_thing-1.0-py3-none-any.whl"
    page = folder / "simple" / WHEEL.package / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="/{name}#sha256={sha256}">{name}</a>')
    (folder / name).write_bytes(content)


def test_an_index_is_asked_over_http(server: Path, tmp_path: Path) -> None:
    publish(server, b"wheel", hashlib.sha256(b"wheel").hexdigest())
    path = download(WHEEL, tmp_path / "scratch")
    assert path.parent == tmp_path / "scratch" and path.read_bytes() == b"wheel"


def test_a_damaged_archive_is_refused(server: Path, tmp_path: Path) -> None:
    publish(server, b"wheel", "0" * 64)
    with pytest.raises(ModelError, match=r"Hash mismatch for .* Expected"):
        download(WHEEL, tmp_path / "scratch")


def test_an_index_s_refusal_is_told(server: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has graphopt-test-thing 1\.0 \(wheel\): .*\b404\b"):
        download(WHEEL, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (WHEEL, "graphopt_test_thing-1.0-cp27-cp27m-win32.whl"),
        (SDIST, "graphopt-test-thing-1.0.tar.gz"),
    ],
)
def test_the_asked_kind_comes_without_being_executed(
    links: Path, tmp_path: Path, wanted: Distribution, name: str
) -> None:
    assert download(wanted, tmp_path / "scratch").name == name
    assert not (tmp_path / "executed").exists()
    assert "graphopt_test_thing" not in sys.modules


def test_another_version_does_not_do(links: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has graphopt-test-thing 2\.0 \(wheel\)$"):
        download(Distribution("graphopt-test-thing", "2.0", "wheel"), tmp_path)


def test_an_unreachable_index_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, PipSettings(index_url="https://127.0.0.1:1/simple"))
    with pytest.raises(ModelError) as caught:
        download(WHEEL, tmp_path)
    message = str(caught.value)
    assert message.startswith("cannot download graphopt-test-thing 1.0 (wheel): ")
    assert "check the network" in message and "\n" not in message


def test_a_passing_failure_is_tried_again(
    links: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    original = PackageFinder.find_matches

    def flaky(self: PackageFinder, requirement: str) -> object:
        calls.append(requirement)
        if len(calls) < module.ATTEMPTS:
            raise TimeoutError("timed out")
        return original(self, requirement)

    monkeypatch.setattr(PackageFinder, "find_matches", flaky)
    assert download(WHEEL, tmp_path).suffix == ".whl"
    assert len(calls) == module.ATTEMPTS


def test_no_index_and_no_links_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, PipSettings(no_index=True))
    with pytest.raises(ModelError, match="pip is set to no-index, without find-links"):
        download(WHEEL, tmp_path)


def test_unreadable_certificates_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, PipSettings(certificates=tmp_path / "absent.pem"))
    with pytest.raises(ModelError, match=r"cannot read pip's certificates in .*absent\.pem"):
        download(WHEEL, tmp_path)


def test_a_large_archive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 10)
    named = Link("file:///thing.whl")
    module._refuse_large(named, 10, None)
    for completed, total in ((11, None), (0, 11)):
        with pytest.raises(ModelError, match=r"thing\.whl is larger than 10 bytes"):
            module._refuse_large(named, completed, total)


def test_the_default_index_comes_first_and_is_the_library_s() -> None:
    default = PackageFinder().sources
    extra = PipSettings(extra_index_urls=("file:///a",), find_links=("file:///b",))
    assert make_finder(WHEEL, PipSettings()).sources == default
    assert make_finder(WHEEL, extra).sources == [
        *default,
        {"url": "file:///a", "type": "index"},
        {"url": "file:///b", "type": "find_links"},
    ]


def test_pip_s_index_replaces_the_default() -> None:
    sources = make_finder(WHEEL, PipSettings(index_url="file:///mirror")).sources
    assert sources == [{"url": "file:///mirror", "type": "index"}]


def test_no_index_leaves_the_links_only() -> None:
    settings = PipSettings(
        no_index=True, index_url="a://b", extra_index_urls=("c://d",), find_links=("file:///e",)
    )
    assert make_finder(WHEEL, settings).sources == [{"url": "file:///e", "type": "find_links"}]

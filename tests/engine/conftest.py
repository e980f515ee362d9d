from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from graphopt.engine.registry import available
from tests.engine.third_party import install

Install = Callable[[str, str, Mapping[str, str]], None]


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs distributions that are gone again after the test."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    known = set(sys.modules)
    available.cache_clear()

    def add(distribution: str, package: str, files: Mapping[str, str]) -> None:
        install(site, distribution, package, files)
        available.cache_clear()

    yield add
    available.cache_clear()
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(site)):
            del sys.modules[name]

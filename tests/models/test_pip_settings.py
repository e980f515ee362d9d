from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from models import pip_settings
from models.pip_settings import PipSettings, parse_config, parse_environment, read_pip_settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip_settings, "_pip_config", lambda: "")
    monkeypatch.setattr(os, "environ", {})


def test_nothing_is_set_by_default() -> None:
    assert read_pip_settings() == PipSettings()


def test_the_download_section_wins_over_the_global_one() -> None:
    text = "download.index-url='b'\nglobal.index-url='a'\nglobal.cert='c'\ninstall.cert='d'\n"
    assert parse_config(text) == {"index-url": "b", "cert": "c"}


def test_lines_that_pip_adds_are_passed_over() -> None:
    assert parse_config("WARNING: something = odd\n:env:.index-url='a'\n\n") == {}


def test_variables_are_options() -> None:
    environment = {"PIP_INDEX_URL": "a", "PIP_NO_INDEX": "", "HOME": "b"}
    assert parse_environment(environment) == {"index-url": "a"}


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = "global.index-url='a'\nglobal.extra-index-url='\\nb\\nc'\nglobal.trusted-host='d e'\n"
    monkeypatch.setattr(pip_settings, "_pip_config", lambda: config)
    monkeypatch.setattr(
        os,
        "environ",
        {
            "PIP_INDEX_URL": "f",
            "PIP_FIND_LINKS": f"{tmp_path} {tmp_path / 'absent'} file:///g",
            "PIP_NO_INDEX": "true",
            "PIP_CERT": "h",
        },
    )
    assert read_pip_settings() == PipSettings(
        index_url="f",
        extra_index_urls=("b", "c"),
        find_links=(str(tmp_path), "file:///g"),
        trusted_hosts=("d", "e"),
        no_index=True,
        certificates=Path("h"),
    )


def test_a_missing_pip_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "false")
    assert pip_settings._pip_config() == ""

"""The environment of `make bench-simplify` has what graphopt needs, and one ONNX Runtime."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
PEERS = ("onnxsim", "onnxslim", "onnxoptimizer", "onnxscript", "onnx")


def listed() -> list[Requirement]:
    lines = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def wanted(*extras: str) -> list[Requirement]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    tables = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    return [Requirement(text) for table in tables for text in table]


def test_graphopts_own_needs_are_listed_as_it_states_them() -> None:
    found = {one.name: str(one.specifier) for one in listed()}
    pinned = {*PEERS, "onnxruntime", "onnxruntime-gpu"}
    for need in wanted():
        assert need.name in pinned or found.get(need.name) == str(need.specifier)
        assert need.name in found


def test_nothing_else_is_listed() -> None:
    known = {need.name for need in wanted("dev")} | set(PEERS)
    assert {one.name for one in listed()} <= known


def test_the_peers_are_pinned() -> None:
    found = {one.name: str(one.specifier) for one in listed()}
    assert all(found[name].startswith("==") for name in PEERS)


@pytest.mark.parametrize(
    "platform", [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
)
def test_there_is_one_onnxruntime(platform: tuple[str, str]) -> None:
    place = dict(zip(("sys_platform", "platform_machine"), platform, strict=True))
    found = [
        one for one in listed()
        if one.name.startswith("onnxruntime") and (one.marker is None or one.marker.evaluate(place))
    ]  # fmt: skip
    assert len(found) == 1
    assert str(found[0].specifier).startswith("==")

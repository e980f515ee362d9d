"""The environment of `make test-ep` has what graphopt needs, and OpenVINO's ONNX Runtime alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


def listed() -> dict[str, str]:
    lines = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {one.name: str(one.specifier) for one in found}


def wanted(*extras: str) -> dict[str, str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    tables = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    found = [Requirement(text) for table in tables for text in table]
    return {one.name: str(one.specifier) for one in found}


def test_graphopts_own_needs_are_listed_as_it_states_them() -> None:
    needs = {n: v for n, v in wanted().items() if not n.startswith("onnxruntime")}
    assert {name: listed().get(name) for name in needs} == needs


def test_nothing_is_listed_that_graphopt_does_not_name() -> None:
    others = {n: v for n, v in listed().items() if not n.startswith("onnxruntime")}
    assert others.items() <= wanted("dev").items()


def test_the_only_onnxruntime_is_openvinos_and_pinned() -> None:
    runtimes = {n: v for n, v in listed().items() if n.startswith("onnxruntime")}
    assert list(runtimes) == ["onnxruntime-openvino"]
    assert runtimes["onnxruntime-openvino"].startswith("==")

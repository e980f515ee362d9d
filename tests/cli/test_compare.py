from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.build import parse
from tests.cli.conftest import MODEL, Run, W, is_error


def strict(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The model with its weight negated."""
    path = tmp_path / "other.onnx"
    onnx.save(parse(MODEL, w=-W), path)
    return path


def test_equal_models(run: Run, model: Path) -> None:
    done = run("compare", model, model)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("verification: ok, 3 generated input sets, onnxruntime")
    assert "  y: ok" in done.out


def test_result_of_optimize_compares_with_its_source(run: Run, model: Path) -> None:
    run("optimize", model, "-o", "out.onnx")
    assert run("compare", model, "out.onnx").code == 0


def test_different_models(run: Run, model: Path, other: Path) -> None:
    done = run("compare", model, other)
    assert done.code == 1
    assert done.out.startswith("verification: failed")
    assert "  y: failed" in done.out


def test_different_signatures(run: Run, model: Path, tmp_path: Path) -> None:
    onnx.save(parse(MODEL.replace("y", "z"), w=W), tmp_path / "z.onnx")
    done = run("compare", model, "z.onnx")
    assert done.code == 1
    assert "signature: failed outputs changed: y" in done.out


def test_json(run: Run, model: Path, other: Path) -> None:
    done = run("compare", model, other, "--json")
    outcome = strict(done.out)
    assert (done.code, done.err, outcome["status"]) == (1, "", "failed")
    assert [check["what"] for check in outcome["checks"]][-1] == "y"


def test_json_has_no_infinity(run: Run, model: Path, tmp_path: Path) -> None:
    onnx.save(parse(MODEL, w=W * 0), tmp_path / "zero.onnx")
    outcome = strict(run("compare", "zero.onnx", model, "--json").out)
    assert outcome["checks"][-1]["max_rel"] == "inf"


def test_unverifiable(run: Run, unverifiable: Path) -> None:
    done = run("compare", unverifiable, unverifiable)
    assert done.code == 1
    assert done.out.startswith("verification: not verified (the original does not run")
    assert run("compare", unverifiable, unverifiable, "--allow-unverified").code == 0


def test_allow_unverified_does_not_excuse_a_failure(run: Run, model: Path, other: Path) -> None:
    assert run("compare", model, other, "--allow-unverified").code == 1


def test_input_shape(run: Run, unverifiable: Path) -> None:
    done = run("compare", unverifiable, unverifiable, "--input-shape", "x=1,10007")
    assert done.code == 0


def test_data(run: Run, model: Path, other: Path) -> None:
    np.save("data.npy", np.zeros((2, 4), np.float32))
    done = run("compare", model, other, "--data", "data.npy")
    assert "1 given input sets" in done.out or "1 given input set" in done.out
    np.save("data.npy", np.ones((2, 4), np.float32))
    assert run("compare", model, other, "--data", "data.npy").code == 1


def test_data_that_does_not_fit(run: Run, model: Path) -> None:
    np.save("data.npy", np.zeros((2, 5), np.float32))
    assert is_error(run("compare", model, model, "--data", "data.npy"), 3, "data.npy", "(2, 5)")


def test_one_argument(run: Run, model: Path) -> None:
    assert is_error(run("compare", model), 2, "OTHER")

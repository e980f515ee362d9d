from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.build import parse
from tests.cli.conftest import Run, is_error

CONVERT = ("convert", "--opset", 18)
EXTRACT = ("extract", "--outputs", "u")
BOTH = pytest.mark.parametrize("command", [CONVERT, EXTRACT], ids=["convert", "extract"])
Command = Sequence[object]


@BOTH
def test_the_result_is_written_and_summed_up(run: Run, model: Path, command: Command) -> None:
    done = run(*command, model, "-o", "out.onnx")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"{model}: verified -> out.onnx"
    assert lines[-1] == "verification: ok, 3 generated input sets, onnxruntime"
    onnx.checker.check_model(str(model.parent / "out.onnx"), full_check=True)


@BOTH
def test_json_alone_on_stdout(run: Run, model: Path, command: Command) -> None:
    done = run(*command, model, "-o", "out.onnx", "--json")
    report = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert (report["action"], report["status"]) == (command[0], "verified")
    assert (report["output"], report["source"]) == ("out.onnx", str(model))
    assert len(report["source_sha256"]) == 64


@BOTH
def test_quiet_and_verbose(run: Run, model: Path, command: Command) -> None:
    assert run(*command, model, "-o", "out.onnx", "-q").out == ""
    done = run(*command, model, "-o", "out.onnx", "-v")
    assert "  checker: ok" in done.out
    assert "graphopt: writing" in done.complaint


@BOTH
def test_an_output_is_needed(run: Run, model: Path, command: Command) -> None:
    assert is_error(run(*command, model), 2, "--output")


@BOTH
def test_the_output_is_not_the_input(run: Run, model: Path, command: Command) -> None:
    before = model.read_bytes()
    assert is_error(run(*command, model, "-o", model), 2, "the output is the input")
    assert model.read_bytes() == before


@BOTH
def test_a_missing_model(run: Run, command: Command) -> None:
    assert is_error(run(*command, "none.onnx", "-o", "out.onnx"), 3, "none.onnx: no such file")


@BOTH
def test_a_damaged_model(run: Run, model: Path, command: Command) -> None:
    model.write_bytes(model.read_bytes()[:40])
    assert is_error(run(*command, model, "-o", "out.onnx"), 3, "model.onnx")
    assert not (model.parent / "out.onnx").exists()


@BOTH
def test_a_folder_that_is_not_there(run: Run, model: Path, command: Command) -> None:
    assert is_error(run(*command, model, "-o", "none/out.onnx"), 3, "its folder does not exist")


@BOTH
def test_a_limit_that_is_no_number(run: Run, model: Path, command: Command) -> None:
    done = run(*command, model, "-o", "out.onnx", "--verify-limit", "nan")
    assert is_error(done, 2, "--verify-limit")


@BOTH
def test_data_of_another_shape(run: Run, model: Path, command: Command) -> None:
    np.savez(model.parent / "data.npz", allow_pickle=False, x=np.ones((2, 5), np.float32))
    done = run(*command, model, "-o", "out.onnx", "--data", "data.npz")
    assert is_error(done, 3, "'x' has shape (2, 5), the model takes ('N', 4)")


@BOTH
def test_data_is_used(run: Run, model: Path, command: Command) -> None:
    np.savez(model.parent / "data.npz", allow_pickle=False, x=np.ones((2, 4), np.float32))
    done = run(*command, model, "-o", "out.onnx", "--data", "data.npz")
    assert "verification: ok, 1 given input sets, onnxruntime" in done.out


@pytest.fixture
def odd(unverifiable: Path) -> Path:
    """A model that does not run on generated inputs, with a tensor to cut out."""
    text = """g (float[1,L] x) => (float[1,M,K] y) { u = Identity(x) y = Reshape(u, shape) }"""
    onnx.save(parse(text, shape=np.array([1, -1, 10007])), unverifiable)
    return unverifiable


@BOTH
def test_what_could_not_be_verified_is_not_written(run: Run, odd: Path, command: Command) -> None:
    done = run(*command, odd, "-o", "out.onnx")
    assert done.code == 1
    assert done.out.startswith(f"{odd}: UNVERIFIED\n")
    assert "unverified (the original does not run on generated inputs: " in done.complaint[0]
    assert done.complaint[0].endswith("; nothing was written")
    assert "--allow-unverified" in done.complaint[1]
    assert not (odd.parent / "out.onnx").exists()


@BOTH
def test_unless_it_is_allowed(run: Run, odd: Path, command: Command) -> None:
    done = run(*command, odd, "-o", "out.onnx", "--allow-unverified")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{odd}: UNVERIFIED -> out.onnx")
    assert (odd.parent / "out.onnx").exists()


@BOTH
def test_or_helped_by_a_shape(run: Run, odd: Path, command: Command) -> None:
    done = run(*command, odd, "-o", "out.onnx", "--input-shape", "x:1,10007")
    assert done.code == 0, done


@BOTH
def test_or_switched_off(run: Run, odd: Path, command: Command) -> None:
    done = run(*command, odd, "-o", "out.onnx", "--no-verify")
    assert (done.code, done.err) == (0, "")
    assert "verification was switched off; it loads" in done.out


def test_what_failed_is_not_written_even_if_unverified_is_allowed(run: Run, model: Path) -> None:
    text = "g (float[2,4] x) => (float[2,4] y) { m = ReduceMean <axes=[0]> (x) y = Sub(x, m) }"
    onnx.save(parse(text), model)
    done = run("convert", model, "-o", "out.onnx", "--dynamic-batch", "--allow-unverified")
    assert done.code == 1
    assert f"{model}: failed verification (y: " in done.complaint[0]
    assert "the model bakes its batch of 2 in); nothing was written" in done.complaint[0]
    assert not (model.parent / "out.onnx").exists()


def test_a_former_file_stays_where_nothing_is_written(run: Run, model: Path) -> None:
    former = model.parent / "out.onnx"
    former.write_bytes(b"former")
    assert run("extract", model, "-o", former, "--outputs", "nothing").code == 2
    assert former.read_bytes() == b"former"

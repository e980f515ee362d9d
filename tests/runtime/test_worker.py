from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphopt.runtime import wire
from graphopt.runtime.worker import OPTIMIZATION_LEVELS, serve
from tests.build import parse

X = np.array([-1, 2], np.float32)
RELU = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
SETTINGS: dict[str, Any] = {
    "level": "off", "providers": ["CPUExecutionProvider"], "threads": 1, "backend": "reference",
    "max_bytes": None,
}  # fmt: skip


def answers(*requests: tuple[dict[str, Any], dict[str, Any]]) -> list[wire.Message]:
    incoming, outgoing = io.BytesIO(), io.BytesIO()
    for header, arrays in requests:
        wire.send(incoming, header, arrays)
    incoming.seek(0)
    serve(incoming, outgoing, {})
    outgoing.seek(0)
    found = []
    while (message := wire.receive(outgoing)) is not None:
        found.append(message)
    return found


def test_open_run_close(tmp_path: Path) -> None:
    onnx.save(RELU, tmp_path / "m.onnx")
    run: tuple[dict[str, Any], dict[str, Any]]
    run = ({"action": "run", "session": 1, "outputs": ["y"]}, {"x": X})
    opened, ran, closed, gone = answers(
        ({"action": "open", "path": str(tmp_path / "m.onnx"), **SETTINGS}, {}),
        run,
        ({"action": "close", "session": 1}, {}),
        run,
    )
    assert opened[0]["outputs"] == ["y"]
    assert np.array_equal(ran[1]["y"], [0, 2])
    assert closed == ({}, {})
    assert "KeyError" in gone[0]["error"]


def test_error_is_an_answer_and_the_next_request_is_served() -> None:
    model = {wire.MODEL: np.frombuffer(RELU.SerializeToString(), np.uint8), "x": X}
    bad = {wire.MODEL: np.frombuffer(b"no model", np.uint8), "x": X}
    header = {"action": "run_once", "outputs": ["y"], **SETTINGS}
    first, second = answers((header, bad), (header, model))
    assert first[0]["error"]
    assert np.array_equal(second[1]["y"], [0, 2])


def test_error_text_is_bounded() -> None:
    (answer,) = answers(({"action": "run", "session": "x" * 100000, "outputs": []}, {}))
    assert len(answer[0]["error"]) <= 2000


def test_unknown_action_is_an_error() -> None:
    (answer,) = answers(({"action": "fly"}, {}))
    assert "fly" in answer[0]["error"]


def test_levels_are_those_of_onnxruntime() -> None:
    # In a process of its own: importing onnxruntime here would start its telemetry.
    code = (
        "import onnxruntime as o; l = o.GraphOptimizationLevel; print([int(x) for x in "
        "(l.ORT_DISABLE_ALL, l.ORT_ENABLE_BASIC, l.ORT_ENABLE_EXTENDED, l.ORT_ENABLE_ALL)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
    )  # fmt: skip
    assert list(OPTIMIZATION_LEVELS) == ["off", "basic", "extended", "all"]
    assert done.stdout.strip() == str(list(OPTIMIZATION_LEVELS.values()))


def served(header: dict[str, Any], further: dict[str, Any]) -> wire.Message:
    incoming, outgoing = io.BytesIO(), io.BytesIO()
    wire.send(incoming, header, {"x": X})
    incoming.seek(0)
    serve(incoming, outgoing, further)
    outgoing.seek(0)
    message = wire.receive(outgoing)
    assert message is not None
    return message


def test_further_actions_beside_its_own() -> None:
    def double(header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        return {"times": header["times"]}, {"x": header["times"] * arrays["x"]}

    header, arrays = served({"action": "double", "times": 2}, {"double": double})
    assert header == {"times": 2}
    assert arrays["x"].tolist() == [-2, 4]  # type: ignore[union-attr]
    model = {"action": "run_once", "outputs": ["y"], **SETTINGS}
    assert "KeyError" in served(model, {"double": double})[0]["error"]  # its own, and no model came


def test_further_action_outranks_its_own_and_may_fail() -> None:
    def fail(header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        raise ValueError("not\ntoday")

    assert served({"action": "close"}, {"close": fail})[0]["error"] == "ValueError: not\ntoday"

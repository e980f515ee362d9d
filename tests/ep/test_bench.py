"""`graphopt bench` on OpenVINO, for real: a provider that is neither the CPU's nor a GPU's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from models.fetch import fetch
from tests.build import parse

pytestmark = pytest.mark.ep

MODELS = ("magika", "mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "ppocr_cls")
OPENVINO = "OpenVINOExecutionProvider"


def bench(folder: Path, *arguments: object) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "graphopt", "bench", *map(str, arguments), "--seconds", "2",
         "--repeat-processes", "2", "--threads", "1", "--json"],
        cwd=folder, env={**os.environ}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


@pytest.mark.parametrize("name", MODELS)
def test_model_beside_itself_on_both_providers(tmp_path: Path, name: str) -> None:
    path = fetch(name)
    code, report, said = bench(tmp_path, path, path, "--ep", "cpu", "--ep", "openvino")
    assert code == 0, said
    on_cpu, on_openvino = report["cases"]
    assert (on_cpu["provider"], on_openvino["provider"]) == ("CPUExecutionProvider", OPENVINO)
    assert on_openvino["provider_options"]["num_of_threads"] == "1"
    for arm in on_openvino["arms"]:
        assert arm["placement"]["nodes"][OPENVINO] > 0
        assert arm["placement"]["macs_elsewhere"] == 0
        assert arm["wall"]["calls"] > 0
    assert on_openvino["arms"][1]["ratio"]["low"] <= on_openvino["arms"][1]["ratio"]["high"]
    snr = on_openvino["arms"][1]["snr_db"]
    assert snr == "inf" or snr > 60


def test_nodes_that_fall_back_are_named_and_refused(tmp_path: Path) -> None:
    text = """g (float[64,64] x) => (float[64,64] y) {
        a = MatMul(x, w)
        wide = Cast<to = 11>(a)
        b = MatMul(wide, v)
        y = Cast<to = 1>(b)
    }"""
    w, v = np.eye(64, dtype=np.float32), np.eye(64, dtype=np.float64)
    onnx.save(parse(text, w=w, v=v), tmp_path / "wide.onnx")
    code, _, said = bench(tmp_path, "wide.onnx", "--provider", "openvino")
    assert code == 4
    assert "MatMul" in said
    assert "Traceback" not in said
    code, report, said = bench(tmp_path, "wide.onnx", "--provider", "openvino", "--allow-fallback")
    assert code == 0, said
    (arm,) = report["cases"][0]["arms"]
    assert "MatMul" in {node["op_type"] for node in arm["placement"]["elsewhere"]}
    assert arm["placement"]["macs_elsewhere"] > 0.01


def test_profile_names_the_provider(tmp_path: Path) -> None:
    code, report, said = bench(
        tmp_path, fetch("mtcnn_rnet"), "--provider", "openvino", "--profile", "--memory", "--cold"
    )
    assert code == 0, said
    (arm,) = report["cases"][0]["arms"]
    assert {node["provider"] for node in arm["profile"]} == {OPENVINO}
    assert arm["memory"]["run_peak_bytes"] > 0
    assert arm["startup"]["session_ms"] > 0


def test_cuda_is_of_another_build(tmp_path: Path) -> None:
    code, _, said = bench(tmp_path, fetch("mtcnn_rnet"), "--provider", "cuda")
    assert code == 4
    assert "onnxruntime-gpu" in said

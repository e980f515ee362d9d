from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.report.bench_files import read_bench
from tests.build import parse
from tests.cli.conftest import MODEL, Done, Run, W, is_error
from tests.gpu.present import has_gpu

SHORT = ("--seconds", "2", "--repeat-processes", "2", "--threads", "1")
DECIDED = ("--seconds", "4", "--repeat-processes", "1", "--threads", "1")
"""Enough for 30 pairs of models that take some ms."""


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Six products of 1024 x 1024 matrices where `model` has one of 4 x 3."""
    layers = "\n".join(f"t{n + 1} = MatMul(t{n}, w)" for n in range(6))
    text = f"""g (float[N,4] x) => (float[N,1024] y) {{
        t0 = MatMul(x, first)
        {layers}
        y = Relu(t6)
    }}"""
    path = tmp_path / "slow.onnx"
    first, w = np.ones((4, 1024), np.float32), np.ones((1024, 1024), np.float32)
    onnx.save(parse(text, first=first, w=w), path)
    return path


def requirement_words(done: Done) -> str:
    return "\n".join(done.complaint)


def test_two_models_have_a_ratio_and_a_verdict(run: Run, model: Path, slow: Path) -> None:
    done = run("bench", model, slow, *SHORT, "--report", "r.json", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    case = found["cases"][0]
    first, second = case["arms"]
    assert (first["ratio"], first["verdict"]) == (None, None)
    assert second["ratio"]["value"] > 1
    assert second["ratio"]["low"] <= second["ratio"]["value"] <= second["ratio"]["high"]
    assert case["processes"] in (1, 2)  # a second one only where the time allows
    assert case["floor"]["low"] <= case["floor"]["value"] <= case["floor"]["high"]
    assert [m["name"] for m in found["models"]] == ["model", "slow"]
    assert read_bench(Path("r.json")).to_dict() == read_bench(Path("r.json")).to_dict()
    assert read_bench(Path("r.json")).reference == "model"


def test_reference_comes_first(run: Run, model: Path, slow: Path) -> None:
    done = run("bench", model, "--reference", slow, *SHORT, "--json")
    case = json.loads(done.out)["cases"][0]
    assert [arm["model"] for arm in case["arms"]] == ["slow", "model"]
    assert case["arms"][1]["ratio"]["value"] < 1


def test_one_model_is_timed_for_itself(run: Run, model: Path) -> None:
    done = run("bench", model, *SHORT)
    assert done.code == 0
    assert "model" in done.out


def test_cases_are_every_combination(run: Run, model: Path) -> None:
    done = run("bench", model, "--threads", "1,2", "--batch", "1,8", "--seconds", "2",
               "--repeat-processes", "1", "--json")  # fmt: skip
    cases = json.loads(done.out)["cases"]
    assert [(c["threads"], c["batch"], c["shapes"]["x"]) for c in cases] == [
        (1, 1, [1, 4]), (1, 8, [8, 4]), (2, 1, [1, 4]), (2, 8, [8, 4]),
    ]  # fmt: skip


def test_requirement_that_is_not_met(run: Run, model: Path, slow: Path) -> None:
    done = run("bench", model, slow, *DECIDED, "--require", "latency_ratio <= 0.001")
    assert done.code == 1
    assert "'latency_ratio <= 0.001' is not met" in requirement_words(done)


def test_requirement_that_is_met(run: Run, model: Path, slow: Path) -> None:
    done = run("bench", slow, model, *DECIDED, "--require", "p99_ms <= 1e6", "--require",
               "latency_ratio >= 0.0000001")  # fmt: skip
    assert (done.code, done.err) == (0, "")


def test_what_cannot_be_decided_is_inconclusive(run: Run, model: Path, tmp_path: Path) -> None:
    # Fewer than 30 pairs decide nothing: the time is over after one round of each process.
    layers = "\n".join(f"t{n + 1} = MatMul(t{n}, w)" for n in range(12))
    text = f"g (float[512,512] t0) => (float[512,512] t12) {{ {layers} }}"
    onnx.save(parse(text, w=np.eye(512, dtype=np.float32)), tmp_path / "big.onnx")
    done = run("bench", "big.onnx", "big.onnx", "--seconds", "0.01", "--require",
               "latency_ratio <= 1000")  # fmt: skip
    assert done.code == 5
    assert "is inconclusive" in requirement_words(done)


def test_lossy_difference_shows(run: Run, model: Path, tmp_path: Path) -> None:
    onnx.save(parse(MODEL, w=W * 1.001), tmp_path / "near.onnx")
    done = run("bench", model, model, "near.onnx", *SHORT, "--json")
    arms = json.loads(done.out)["cases"][0]["arms"]
    assert arms[1]["snr_db"] == "inf"
    assert 50 < arms[2]["snr_db"] < 70


def test_the_users_own_data(run: Run, model: Path) -> None:
    np.savez("d.npz", x=np.ones((5, 4), np.float32))
    done = run("bench", model, "--data", "d.npz", *SHORT, "--json")
    case = json.loads(done.out)["cases"][0]
    assert (case["batch"], case["shapes"]) == (5, {"x": [5, 4]})


def test_extras(run: Run, model: Path) -> None:
    done = run("bench", model, *SHORT, "--profile", "--memory", "--cold", "--json")
    assert done.code == 0, done
    (arm,) = json.loads(done.out)["cases"][0]["arms"]
    assert {node["op_type"] for node in arm["profile"]} <= {"MatMul", "Relu", "FusedMatMul", "Gemm"}
    assert arm["profile"]
    assert arm["startup"]["session_ms"] > 0
    assert arm["memory"]["run_peak_bytes"] >= arm["memory"]["load_peak_bytes"]


def test_a_load(run: Run, model: Path) -> None:
    done = run("bench", model, *SHORT, "--concurrency", "2", "--rate", "200", "--json")
    case = json.loads(done.out)["cases"][0]
    assert (case["mode"], case["concurrency"], case["rate"]) == ("open loop", 2, 200)
    assert case["arms"][0]["lost"] == 0


@pytest.mark.parametrize("suffix", ["json", "md", "html", "xml"])
def test_reports(run: Run, model: Path, suffix: str) -> None:
    done = run("bench", model, *SHORT, "-q", "--report", f"r.{suffix}")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert "model" in Path(f"r.{suffix}").read_text(encoding="utf-8")


@pytest.mark.skipif(has_gpu(), reason="there is a GPU: tests/gpu looks at it")
def test_cuda_without_a_gpu(run: Run, model: Path) -> None:
    done = run("bench", model, "--provider", "cuda")
    assert is_error(done, 4, "CUDAExecutionProvider")
    assert len(done.complaint) == 2  # the remedy is the second line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--provider", "nosuch"), ("nosuch",)),
        (("--provider", ":a=b"), ("has no name",)),
        (("--threads", "two"), ("--threads 'two'",)),
        (("--batch", "0"), ("--batch '0'",)),
        (("--session", "x"), ("KEY=VALUE",)),
        (("--require", "snr_db >= 3"), ("graphopt optimize",)),
        (("--allow-fallback", "--strict-provider"), ("exclude each other",)),
        (("--cuda-graph",), ("--cuda-graph",)),
        (("--input-shape", "q:1,4"), ("'q'",)),
        (
            ("--session", "session.use_ort_model_bytes_directly=1", "--session",
             "session.use_ort_model_bytes_for_initializers=1"),
            ("wrong answers",),
        ),
    ],
)  # fmt: skip
def test_wrong_use(
    run: Run, model: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert is_error(run("bench", model, *arguments), 2, *words)


def test_fixed_batch_is_said(run: Run, tmp_path: Path) -> None:
    onnx.save(parse(MODEL.replace("N", "1"), w=W), tmp_path / "one.onnx")
    done = run("bench", "one.onnx", "--batch", "4")
    assert is_error(done, 2, "one.onnx", "fixed batch of 1", "--dynamic-batch")


def test_models_with_other_inputs(run: Run, model: Path, tmp_path: Path) -> None:
    onnx.save(parse(MODEL.replace(" x)", " z)").replace("(x)", "(z)"), w=W), tmp_path / "z.onnx")
    assert is_error(run("bench", model, "z.onnx"), 2, "z.onnx", "other inputs")


def test_missing_and_broken_files(run: Run, model: Path, tmp_path: Path) -> None:
    assert is_error(run("bench", "no.onnx"), 3, "no.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    assert is_error(run("bench", model, "bad.onnx"), 3, "bad.onnx")


def test_candidate_that_does_not_run_is_named(run: Run, model: Path, tmp_path: Path) -> None:
    text = MODEL.replace("MatMul(t, w)", "MatMul(w, t)")
    onnx.save(parse(text, w=W), tmp_path / "wrong.onnx")
    done = run("bench", model, "wrong.onnx", *SHORT)
    assert done.code != 0
    assert "wrong.onnx" in done.err
    assert "Traceback" not in done.err


def test_report_that_cannot_be_written(run: Run, model: Path) -> None:
    assert is_error(run("bench", model, "--report", "r.txt"), 2, "r.txt")

"""The benchmarker on a real GPU: binding, graph capture, placement, memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.benching.comparison import bench_models
from graphopt.benching.options import BenchOptions
from graphopt.errors import ProviderUnavailable
from graphopt.model import load_model
from graphopt.report.bench import BenchReport
from graphopt.runtime.settings import CUDA, Provider
from models.fetch import fetch
from tests.build import parse
from tests.gpu.present import has_gpu

pytestmark = pytest.mark.skipif(not has_gpu(), reason="no CUDA device")

OPTIONS = BenchOptions(providers=[Provider(CUDA)], seconds=5.0, processes=2)


def bench(*names: str, **changes: object) -> BenchReport:
    models = [load_model(fetch(name)) for name in names]
    return bench_models(models, dataclasses.replace(OPTIONS, **changes))  # type: ignore[arg-type]


def test_everything_runs_on_the_device_and_copies_are_apart() -> None:
    report = bench("resnet_20", "resnet_20")
    case = report.cases[0]
    assert case.provider == CUDA
    for arm in case.arms:
        assert arm.copy_ms is not None and arm.copy_ms > 0
        assert arm.cpu is None
        assert arm.placement is not None
        assert (arm.placement.macs_elsewhere or 0.0) == 0.0
    assert case.arms[1].snr_db is not None and case.arms[1].snr_db > 60
    assert report.environment.devices


def test_answers_are_those_of_the_cpu(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
    path = str(fetch("resnet_20"))
    import onnxruntime as ort

    on_cpu = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    on_gpu = ort.InferenceSession(path, providers=[(CUDA, {"use_tf32": "0"})])
    (a,), (b,) = (s.run(None, {"image": image}) for s in (on_cpu, on_gpu))
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_captured_graph_runs() -> None:
    plain, captured = bench("resnet_20"), bench("resnet_20", cuda_graph=True)
    assert captured.cases[0].provider_options["enable_cuda_graph"] == "1"
    assert captured.cases[0].arms[0].wall.calls > 0
    assert plain.cases[0].provider_options == {}


def test_provider_options_are_taken() -> None:
    options = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    report = bench("resnet_20", providers=[Provider(CUDA, options)])
    assert report.cases[0].provider_options == options


def test_work_on_the_cpu_is_an_error(tmp_path: Path) -> None:
    # CUDA has no kernel for Det; the product in front of it is small beside its bytes.
    text = "g (float[64,256,256] x) => (float[64] y) { y = Det(x) }"
    onnx.save(parse(text), tmp_path / "det.onnx")
    with pytest.raises(ProviderUnavailable, match="Det"):
        graphopt.bench([tmp_path / "det.onnx"], providers=["cuda"], seconds=2)
    report = graphopt.bench(
        [tmp_path / "det.onnx"], providers=["cuda"], seconds=2,
        options=BenchOptions(allow_fallback=True),
    )  # fmt: skip
    placement = report.cases[0].arms[0].placement
    assert placement is not None
    assert [node.op_type for node in placement.elsewhere] == ["Det"]


def test_device_memory_is_measured() -> None:
    arm = bench("resnet_20", memory=True).cases[0].arms[0]
    assert arm.memory is not None
    assert arm.memory.device_peak_bytes is not None
    assert arm.memory.device_peak_bytes > 0

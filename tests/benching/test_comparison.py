from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from graphopt.benching.comparison import bench_models
from graphopt.benching.options import BenchOptions
from graphopt.errors import DataError, GraphoptError, ProviderUnavailable, UsageError
from graphopt.model import load_model
from graphopt.report.bench import BENCH_SCHEMA_VERSION
from graphopt.report.requirement import parse_requirement
from graphopt.runtime.settings import Provider, SessionSettings
from models.fetch import fetch

QUICK = BenchOptions(threads=(1,), seconds=1.0, processes=1)


def test_report_is_whole() -> None:
    models = [load_model(fetch(name)) for name in ("lenet_5", "lenet_5", "resnet_20")]
    report = bench_models(models, dataclasses.replace(QUICK, seed=7))
    assert report.schema == BENCH_SCHEMA_VERSION
    assert (report.seed, report.reference) == (7, "lenet_5")
    assert [m.name for m in report.models] == ["lenet_5", "lenet_5 (2)", "resnet_20"]
    assert report.models[0].sha256 == report.models[1].sha256 != report.models[2].sha256
    (case,) = report.cases
    assert [arm.model for arm in case.arms] == [m.name for m in report.models]
    assert case.shapes == {"image": [1, 1, 28, 28]}
    assert (case.batch, case.mode, case.concurrency) == (1, "alternating", 1)
    for arm in case.arms:
        assert arm.wall.calls == case.pairs * case.block
        assert arm.wall.min_ms <= arm.wall.p50_ms <= arm.wall.p90_ms <= arm.wall.max_ms
        assert arm.cpu is not None
        assert arm.gflops is not None
    assert case.arms[1].snr_db == float("inf")
    assert report.environment.versions["onnxruntime"]
    assert report.outcome == "met"


def test_requirements_are_decided_per_model_and_case() -> None:
    models = [load_model(fetch(name)) for name in ("lenet_5", "resnet_20")]
    wanted = [parse_requirement("p99_ms <= 1e9"), parse_requirement("latency_ratio <= 1e-9")]
    options = dataclasses.replace(QUICK, batches=(1, 2), requirements=wanted, seconds=4.0)
    report = bench_models(models, options)
    assert [(r.metric, r.model, r.case) for r in report.requirements] == [
        ("p99_ms", "resnet_20", 0), ("p99_ms", "resnet_20", 1),
        ("latency_ratio", "resnet_20", 0), ("latency_ratio", "resnet_20", 1),
    ]  # fmt: skip
    assert {r.outcome for r in report.requirements[:2]} == {"met"}
    assert "met" not in {r.outcome for r in report.requirements[2:]}
    assert report.outcome != "met"


def test_data_and_batch_make_the_inputs() -> None:
    image = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    options = dataclasses.replace(QUICK, data=[{"image": image}], batches=(None, 2, 5))
    report = bench_models([load_model(fetch("lenet_5"))], options)
    assert [c.shapes["image"][0] for c in report.cases] == [3, 2, 5]
    assert [c.batch for c in report.cases] == [3, 2, 5]


def test_spinning_threads_have_no_processor_clock() -> None:
    options = dataclasses.replace(QUICK, session=SessionSettings(spinning=True, level="basic"))
    report = bench_models([load_model(fetch("lenet_5"))], options)
    assert report.cases[0].arms[0].cpu is None
    assert report.cases[0].cpu_floor is None
    assert report.session == {"level": "basic", "spinning": "True"}


def test_data_that_does_not_run() -> None:
    options = dataclasses.replace(QUICK, data=[{"image": np.zeros((1, 2, 28, 28), np.float32)}])
    with pytest.raises(DataError, match="does not run on the data") as caught:
        bench_models([load_model(fetch("lenet_5"))], options)
    assert "lenet_5.onnx" in str(caught.value)
    with pytest.raises(DataError, match="no input set"):
        bench_models([load_model(fetch("lenet_5"))], dataclasses.replace(QUICK, data=[]))


def test_what_does_not_go_together() -> None:
    model = load_model(fetch("lenet_5"))
    for changes in (
        {"allow_fallback": True, "strict_provider": True},
        {"cuda_graph": True},
        {"requirements": [parse_requirement("nodes_ratio <= 1")]},
        {"shapes": {"nosuch": (1,)}},
        {"providers": [Provider("NoSuchExecutionProvider")]},
    ):
        with pytest.raises(UsageError):
            bench_models([model], dataclasses.replace(QUICK, **changes))
    with pytest.raises(UsageError, match="no model"):
        bench_models([], QUICK)


def test_provider_of_another_build_is_not_to_be_had() -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        bench_models(
            [load_model(fetch("lenet_5"))],
            dataclasses.replace(QUICK, providers=[Provider("CoreMLExecutionProvider")]),
        )
    assert caught.value.exit_code == 4


def test_file_that_went_away_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gone.onnx"
    path.write_bytes(fetch("lenet_5").read_bytes())
    model = load_model(path)
    path.unlink()
    with pytest.raises(GraphoptError, match=r"gone\.onnx"):
        bench_models([model], QUICK)

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.benching.options import BenchOptions
from graphopt.errors import GraphoptError, UsageError
from models.fetch import fetch

QUICK = BenchOptions(processes=1)


def test_paths_bytes_and_results() -> None:
    path = fetch("lenet_5")
    smaller = graphopt.optimize(path, "small", verify=False)
    report = graphopt.bench(
        [path, path.read_bytes(), smaller.model], seconds=1, threads=[1], options=QUICK
    )
    assert len(report.models) == len({m.name for m in report.models}) == 3
    assert report.cases[0].arms[1].snr_db == float("inf")
    assert report.models[2].file_bytes < report.models[0].file_bytes / 2


def test_data_and_conditions() -> None:
    image = np.zeros((4, 1, 28, 28), np.float32)
    report = graphopt.bench(
        [fetch("lenet_5")], data=[{"image": image}], require=["p99_ms <= 1e9"], seconds=1,
        options=QUICK,
    )  # fmt: skip
    assert report.cases[0].batch == 4
    assert [row.outcome for row in report.requirements] == ["met"]


@pytest.mark.parametrize(
    "given", [{"models": "m.onnx"}, {"providers": "cpu"}, {"require": "p99_ms <= 1"}]
)
def test_one_where_a_list_belongs(given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="not a list"):
        graphopt.bench(**{"models": [fetch("lenet_5")], **given})  # type: ignore[arg-type]


def test_data_that_does_not_fit() -> None:
    with pytest.raises(GraphoptError, match="picture"):
        graphopt.bench([fetch("lenet_5")], data=[{"picture": np.zeros(1)}])


def test_tuning_proposes_the_default_or_better() -> None:
    report = graphopt.tune(fetch("lenet_5").read_bytes(), seconds=4)
    assert report.ratio.low <= 1.0
    assert "SessionOptions" in report.snippet

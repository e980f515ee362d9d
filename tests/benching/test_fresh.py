from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from graphopt.benching.fresh import Job, ask_fresh
from graphopt.errors import ProviderUnavailable, RuntimeFailure
from graphopt.runtime.settings import CUDA, Provider, SessionSettings
from tests.build import Array, parse

RELU = "agraph (float[N] x) => (float[N] y) { y = Relu(x) }"
FEEDS: dict[str, Array] = {"x": np.array([-1, 2], np.float32)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(parse(RELU), path)
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def describe(job: Job) -> dict[str, Any]:
    (job.folder / "left behind").write_text("x")
    return {
        "pid": os.getpid(),
        "path": job.path,
        "runs": job.runs,
        "threads": job.settings.threads,
        "feeds": {n: [str(v.dtype), v.tolist()] for n, v in job.feeds.items()},
    }


def run_all(job: Job) -> str:
    session = job.open()
    for _ in range(job.runs):
        job.run(session)
    return job.stage


def limit(job: Job) -> int:
    import resource

    job.open()
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def crash(job: Job) -> None:
    (job.folder / "left behind").write_text("x")
    os.abort()


def hang(job: Job) -> None:
    time.sleep(60)


def test_job_arrives_and_the_answer_comes_back(model: Path, temporary: Path) -> None:
    feeds: dict[str, Array] = {
        **FEEDS,
        "words": np.array([["a", "é"]], object),
        "short": np.array([1.5], ml_dtypes.bfloat16),
        "none": np.zeros((0, 2), np.int64),
        "yes": np.array(True),
    }
    found = ask_fresh(describe, model, SessionSettings(threads=3), feeds, 7)
    assert found.pop("pid") != os.getpid()
    assert found == {
        "path": str(model),
        "runs": 7,
        "threads": 3,
        "feeds": {
            "x": ["float32", [-1, 2]],
            "words": ["object", [["a", "é"]]],
            "short": ["bfloat16", [1.5]],
            "none": ["int64", []],
            "yes": ["bool", True],
        },
    }
    assert list(temporary.iterdir()) == []


def test_each_question_has_a_process_of_its_own(model: Path) -> None:
    pids = {ask_fresh(describe, model, SessionSettings(), FEEDS)["pid"] for _ in range(2)}
    assert len(pids) == 2


def test_session_is_made_and_run(model: Path) -> None:
    assert ask_fresh(run_all, model, SessionSettings(threads=1), FEEDS, 3) == "run"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory")
def test_model_cannot_take_all_memory(model: Path) -> None:
    assert 0 < ask_fresh(limit, model, SessionSettings(), FEEDS) < 1 << 50


def test_crash_names_the_file_and_leaves_nothing(model: Path, temporary: Path) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        ask_fresh(crash, model, SessionSettings(), FEEDS)
    assert (caught.value.kind, caught.value.file) == ("crash", str(model))
    assert list(temporary.iterdir()) == []


def test_hang_ends_at_the_limit(model: Path) -> None:
    with pytest.raises(RuntimeFailure, match=r"took longer than 0\.5 s") as caught:
        ask_fresh(hang, model, SessionSettings(), FEEDS, timeout=0.5)
    assert (caught.value.kind, caught.value.file) == ("timeout", str(model))


def test_failure_says_at_which_stage(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(RuntimeFailure) as caught:
        ask_fresh(run_all, broken, SessionSettings(), FEEDS)
    assert (caught.value.kind, caught.value.file) == ("load", str(broken))
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeFailure, match="rank") as caught:
        ask_fresh(run_all, model, SessionSettings(), {"x": np.zeros((2, 2), np.float32)})
    assert caught.value.kind == "run"


def test_provider_that_falls_back_is_unavailable(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ProviderUnavailable, match=CUDA) as caught:
        ask_fresh(run_all, model, SessionSettings(Provider(CUDA)), FEEDS)
    assert caught.value.hint

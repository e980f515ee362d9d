from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.benching.tuning_candidates import Candidate, candidates_for, default_candidate
from graphopt.benching.tuning_snippet import snippet
from graphopt.runtime.settings import CPU, CUDA, Provider, SessionSettings
from models.fetch import fetch

IMAGE = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)


def executed(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()) as said:
        exec(compile(text, "snippet", "exec"), names)
    assert said.getvalue() == ""
    return names


def answer(names: dict[str, Any]) -> Any:
    if "run" in names:
        return names["run"]({"image": IMAGE})[0]
    return names["session"].run(None, {"image": IMAGE})[0]


@pytest.mark.parametrize(
    "candidate",
    [*candidates_for("latency", Provider(CPU), 2), *candidates_for("memory", Provider(CPU), 1)],
    ids=lambda candidate: candidate.name,
)
def test_runs_as_printed(candidate: Candidate) -> None:
    path = Path(fetch("lenet_5"))
    expected = answer(executed(snippet(path, default_candidate(Provider(CPU)))))
    names = executed(snippet(path, candidate))
    assert np.allclose(answer(names), expected, rtol=1e-4, atol=1e-5)
    options, settings = names["options"], candidate.settings
    assert options.intra_op_num_threads == settings.threads
    assert options.enable_mem_pattern == settings.memory_pattern
    assert options.enable_cpu_mem_arena == settings.arena
    levels = {"off": 0, "basic": 1, "extended": 2, "all": 99}
    assert int(options.graph_optimization_level) == levels[settings.level]
    for key, given, value in (
        ("session.intra_op.allow_spinning", not settings.spins, "0"),
        ("session.disable_prepacking", not settings.prepacking, "1"),
    ):
        if given:
            assert options.get_session_config_entry(key) == value
        else:
            assert key not in snippet(path, candidate)


def test_defaults_set_nothing() -> None:
    text = snippet(Path("m.onnx"), default_candidate(Provider(CPU)))
    assert "options." not in text.replace("onnxruntime.SessionOptions()", "")


def test_loads_are_told_in_comments() -> None:
    text = snippet(Path("m.onnx"), Candidate(SessionSettings(), batch=16, concurrency=2))
    assert "# Give 16 rows" in text
    assert "# Call session.run from 2 threads" in text


def test_provider_with_options_and_device() -> None:
    provider = Provider(CUDA, {"device_id": "1", "use_tf32": "0"})
    text = snippet(Path("m.onnx"), Candidate(SessionSettings(provider), binding=True))
    assert "[(\"CUDAExecutionProvider\", {'device_id': '1', 'use_tf32': '0'})]" in text
    assert 'ortvalue_from_numpy(value, "cuda", 1)' in text
    compile(text, "snippet", "exec")


@pytest.mark.parametrize("name", ['a"b.onnx', "a'b.onnx", "a\nb.onnx", "ü\\x.onnx", "\U0001f600"])
def test_any_path_is_quoted(name: str) -> None:
    text = snippet(Path(name), default_candidate(Provider(CPU)))
    assert text.count("\n") == 6
    (line,) = [line for line in text.splitlines() if "providers=" in line]
    assert eval(line.rpartition(", options")[0].strip()) == name

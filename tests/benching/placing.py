"""Models in files, what onnxruntime by itself makes of them, and rounds by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphopt.benching.timing_process import Rounds
from graphopt.runtime import IsolatedRuntime, Session
from tests.build import Array, parse

MODELS = Path(__file__).parents[2] / "models"


def place(folder: Path, text: str, name: str = "model", **initializers: Array) -> Path:
    """Write a model from its text, and give its path."""
    path = folder / f"{name}.onnx"
    onnx.save(parse(text, **initializers), path)
    return path


def plain_answers(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """The outputs of one run in a process of its own, nothing of the benchmark's in it."""
    runtime = IsolatedRuntime(timeout=60)
    try:
        return runtime.open(Session(path, level="all")).run(feeds)
    finally:
        runtime.close()


def rounds_of(wall: Any, cpu: Any | None = None) -> Rounds:
    """Rounds of such seconds, [rounds, models, calls]; both clocks alike where one is given."""
    found = np.asarray(wall, np.float64)
    clock = found if cpu is None else np.asarray(cpu, np.float64)
    return Rounds(found, clock, np.ones(found.shape[:2]), 0)

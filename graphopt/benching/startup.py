"""What comes before the first answer: creating the session, and running it for the first time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from graphopt.benching.fresh import Job, ask_fresh
from graphopt.contract import Array
from graphopt.report.bench import Startup
from graphopt.runtime.settings import SessionSettings


def measure_startup(
    path: Path, settings: SessionSettings, feeds: Mapping[str, Array], processes: int = 5
) -> Startup:
    """Start the model several times, each in a fresh process, and take the medians.

    The package onnxruntime is imported beforehand; the file is mostly in the system's cache.

    Args:
        path: The .onnx file.
        settings: How to make its session.
        feeds: Input arrays by name.
        processes: How often.

    Raises:
        ValueError: `processes` is below 1.
        RuntimeFailure: The model does not load or run, crashed the process, or took too long.
        ProviderUnavailable: The execution provider is not to be had here.
    """
    if processes < 1:
        raise ValueError(f"processes is {processes}, not 1 or more")
    found = [ask_fresh(start_once, path, settings, feeds) for _ in range(processes)]
    session, first_run = (statistics.median(column) for column in zip(*found, strict=True))
    return Startup(processes, session * 1e3, first_run * 1e3)


def start_once(job: Job) -> list[float]:
    """In the child: seconds of creating the session, and of its first run."""
    import onnxruntime  # noqa: F401  # importing it is no part of creating a session

    begun = time.perf_counter()
    session = job.open()
    opened = time.perf_counter()
    job.run(session)
    return [opened - begun, time.perf_counter() - opened]

"""Tuning on every model of the catalogue: never worse than the defaults, in bounded time."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

import graphopt
from graphopt.benching.tuning_outputs import differing
from models.catalog import by_name, feeds, load_catalog
from models.fetch import fetch

SECONDS = 10.0
_BEYOND = 20.0
"""Loading, checking and one measurement under way go beyond the time that is asked for."""


@pytest.mark.whole
@pytest.mark.parametrize("name", [model.name for model in load_catalog()])
def test_never_worse_than_the_defaults(name: str) -> None:
    path, sample = fetch(name), feeds(by_name(name), 0)
    before = path.read_bytes()
    report = graphopt.tune(path, seconds=SECONDS, data=[sample])
    print(
        f"{name}: {report.best_name}, {report.ratio.value:.3f} "
        f"[{report.ratio.low:.3f}, {report.ratio.high:.3f}], {report.seconds:.1f} s"
    )
    assert report.ratio.low <= 1.0
    assert report.best_name == "default" or report.ratio.high < 1.0
    assert report.seconds < SECONDS + _BEYOND
    assert path.read_bytes() == before
    assert not differing(_answers(_default(path), sample), _answers(_tuned(report), sample))


def _default(path: object) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def _tuned(report: graphopt.report.tune.TuneReport) -> ort.InferenceSession:
    """The session that the printed code makes."""
    names: dict[str, object] = {}
    exec(report.snippet, names)
    session = names["session"]
    assert isinstance(session, ort.InferenceSession)
    return session


def _answers(session: ort.InferenceSession, sample: dict[str, np.ndarray]) -> dict[str, object]:
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, sample), strict=True))

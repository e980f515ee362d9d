"""Recipe `exact` keeps the outputs that onnx ships for its own test cases, in their own tolerance.

Nothing takes a wrong rewrite back: verification is off. A case whose original meets what is
expected, in ONNX Runtime or with onnx.reference, must meet it afterwards; one that was not changed
is the same file. How many there were of each is printed.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.errors import RuntimeFailure
from graphopt.runtime import IsolatedRuntime
from graphopt.runtime.isolated import Backend
from tests.acceptance.cases import Case, data_cases, node_cases, sample
from tests.acceptance.test_round_trip import BACKENDS, opened


@pytest.fixture(scope="module")
def runtime() -> Iterator[IsolatedRuntime]:
    found = IsolatedRuntime(timeout=120.0, threads=1)
    yield found
    found.close()


def problem(expected: Any, found: Any, rtol: float, atol: float) -> str:
    """What is wrong with a value, as onnx's own test runner sees it; empty: nothing."""
    if isinstance(expected, list):
        if not isinstance(found, list) or len(expected) != len(found):
            return "another sequence"
        parts = (problem(a, b, rtol, atol) for a, b in zip(expected, found, strict=True))
        return next(filter(None, parts), "")
    if expected is None or found is None:
        return "" if expected is found else "an optional is empty in one of them"
    a, b = np.asarray(expected), np.asarray(found)
    if a.dtype.kind in "OUST":
        return "" if a.shape == b.shape and (a == b).all() else "other strings"
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{a.dtype}{a.shape} became {b.dtype}{b.shape}"
    kind = np.complex128 if a.dtype.kind == "c" else np.float64
    close = np.allclose(b.astype(kind), a.astype(kind), rtol=rtol, atol=atol, equal_nan=True)
    return "" if close else "values differ"


def failures(case: Case, path: Path, backend: Backend, runtime: IsolatedRuntime) -> list[str]:
    """What a file gives other than expected, or why it does not run."""
    found = []
    try:
        with opened(path, backend, runtime) as session:
            for feeds, expected in zip(case.feeds(), case.expected(), strict=True):
                outputs = session.run(feeds)
                for (name, value), wanted in zip(outputs.items(), expected, strict=True):
                    said = problem(wanted, value, case.rtol, case.atol)
                    found += [f"{name}: {said}"] if said else []
    except RuntimeFailure as error:
        found.append(f"it does not run: {error}")
    return found


def examine(case: Case, folder: Path, runtime: IsolatedRuntime) -> tuple[str, list[str]]:
    """How a case was compared, and what is wrong."""
    source, new = folder / "source.onnx", folder / "new.onnx"
    source.write_bytes(case.content())
    result = graphopt.optimize(source, verify=False)
    if result.report.left_out:
        return "left out", [item.reason for item in result.report.left_out]
    graphopt.save(result, new)
    if new.read_bytes() == source.read_bytes():
        return "not changed", []
    for backend in BACKENDS:
        if not failures(case, source, backend, runtime):
            return backend, failures(case, new, backend, runtime)
    return "not met by the original", []


def check(cases: list[Case], what: str, runtime: IsolatedRuntime) -> Counter[str]:
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            try:
                how, found = examine(case, Path(folder), runtime)
            except Exception as error:  # of one case; the others are still looked at
                how, found = "exception", [f"{type(error).__name__}: {error}"]
        counts[how] += 1
        problems += [f"{case.name}: {item}" for item in found]
    print(f"\nexpected outputs of {what}: {dict(counts)}", file=sys.stderr, flush=True)
    assert not problems, "\n".join(problems[:50])
    return counts


def test_a_sample_keeps_what_is_expected(
    runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = sample(node_cases(), 200) + sample(data_cases(), 30)
    with capsys.disabled():
        counts = check(cases, "a sample", runtime)
    assert sum(counts[backend] for backend in BACKENDS) >= 10


@pytest.mark.whole
@pytest.mark.parametrize("part", range(4))
def test_every_operator_keeps_what_is_expected(
    part: int, runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = node_cases()
    assert len(cases) >= 1884
    with capsys.disabled():
        check(cases[part::4], f"the operators, part {part + 1} of 4", runtime)


@pytest.mark.whole
def test_every_data_file_keeps_what_is_expected(
    runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = data_cases()
    assert len(cases) >= 140
    with capsys.disabled():
        counts = check(cases, "the data files", runtime)
    assert counts["onnxruntime"] >= 1


@pytest.mark.parametrize(
    "found",
    [np.ones(3, np.float64), np.ones((3, 1), np.float32), np.full(3, 1.1, np.float32), None],
)
def test_a_difference_would_be_seen(found: Any) -> None:
    expected = np.ones(3, np.float32)
    assert problem(expected, found, 1e-3, 1e-7)
    assert problem([expected], [found], 1e-3, 1e-7)
    assert not problem([expected], [expected + np.float32(1e-4)], 1e-3, 1e-7)

"""Load and save with no pass: every byte stays; written anew from the linked graph, every meaning.

The model written anew is run against the original: in ONNX Runtime, else with onnx.reference, else
it is compared as a message alone. How often each was the case is printed.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from graphopt.errors import RuntimeFailure
from graphopt.graph import annotate, build_program, export_program, measure
from graphopt.model import load_model, save_model
from graphopt.runtime import IsolatedRuntime, Opened, Session
from graphopt.runtime.isolated import Backend
from tests.acceptance.cases import (
    Case,
    Feeds,
    catalog_cases,
    corpus_cases,
    data_cases,
    node_cases,
    sample,
)

BACKENDS: tuple[Backend, ...] = ("onnxruntime", "reference")
STRUCTURE = "structure alone"


@dataclass
class Outcome:
    """What a run over many cases found."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def report(self, what: str) -> None:
        """Print the three counts past pytest's capture, also out of a worker of xdist."""
        counted = ", ".join(f"{self.counts[name]} {name}" for name in (*BACKENDS, STRUCTURE))
        total = sum(self.counts.values())
        print(f"\nround trip of {what}: {total} cases: {counted}", file=sys.stderr, flush=True)


@pytest.fixture(scope="module")
def runtime() -> Iterator[IsolatedRuntime]:
    found = IsolatedRuntime(timeout=60.0, threads=1)
    yield found
    found.close()


def round_trip(cases: list[Case], runtime: IsolatedRuntime) -> Outcome:
    outcome = Outcome()
    for case in cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for entry in case.folder.iterdir() if case.folder else ():
                if entry.is_file() and entry.suffix != ".onnx":
                    (folder / entry.name).symlink_to(entry)
            try:
                how, problems = examine(case, folder, runtime)
            except Exception as error:
                how, problems = "error", [f"{type(error).__name__}: {error}"]
        outcome.counts[how] += 1
        outcome.problems += [f"{case.name}: {problem}" for problem in problems]
    return outcome


def examine(case: Case, folder: Path, runtime: IsolatedRuntime) -> tuple[str, list[str]]:
    """Take one model round both ways; say what ran it, and what is wrong."""
    source, new = folder / "source.onnx", folder / "new.onnx"
    source.write_bytes(case.content())
    root = case.folder
    model = load_model(source, external_data_root=root)
    problems = []
    if not model.has_external_data:
        saved = save_model(model, folder / "saved.onnx")
        if saved.read_bytes() != source.read_bytes():
            problems.append("saved without an edit, the bytes differ")
    program = build_program(model)
    annotate(program, model.proto)
    measure(model)
    if export_program(program) is not model:
        problems.append("exported without an edit, it is another model")
    rebuilt = export_program(program, rebuild=True).proto
    problems += differences(model.proto, rebuilt)
    new.write_bytes(rebuilt.SerializeToString())
    how, found = run_both(source, new, case, runtime)
    return how, problems + found


def differences(before: ModelProto, after: ModelProto) -> list[str]:
    problems = []
    if before.SerializeToString(deterministic=True) != after.SerializeToString(deterministic=True):
        problems.append("rebuilt, the message differs")
    if finding(before) != finding(after):
        problems.append(f"the checker says {finding(after)!r} of the rebuilt one")
    return problems


def finding(model: ModelProto) -> str:
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # whatever it says of the one it must say of the other
        return f"{type(error).__name__}: {error}"
    return ""


def run_both(
    source: Path, new: Path, case: Case, runtime: IsolatedRuntime
) -> tuple[str, list[str]]:
    for backend in BACKENDS:
        ran = run_original(source, case, backend, runtime)
        if ran is None:
            continue
        feeds, first, second = ran
        try:
            with opened(new, backend, runtime) as session:
                outputs = session.run(feeds)
        except RuntimeFailure as error:
            return backend, [f"rebuilt, it does not run: {error}"]
        # What differs between two runs of one model is random, or depends on thread timing.
        steady = {name for name in first if same(first[name], second[name])}
        wrong = [
            name
            for name, value in first.items()
            if not (same if name in steady else alike)(value, outputs.get(name))
        ]
        return backend, [f"output {name!r} differs" for name in wrong]
    return STRUCTURE, []


Ran = tuple[Feeds, dict[str, Any], dict[str, Any]]


def run_original(
    source: Path, case: Case, backend: Backend, runtime: IsolatedRuntime
) -> Ran | None:
    """Run it twice on the first inputs that it takes."""
    try:
        with opened(source, backend, runtime) as session:
            for feeds in case.feeds():
                try:
                    return feeds, session.run(feeds), session.run(feeds)
                except RuntimeFailure as error:
                    if error.kind in ("crash", "timeout"):
                        return None
    except RuntimeFailure:
        pass
    return None


@contextmanager
def opened(path: Path, backend: Backend, runtime: IsolatedRuntime) -> Iterator[Opened]:
    session = runtime.open(Session(path, backend=backend))
    try:
        yield session
    finally:
        session.close()


def same(first: Any, second: Any) -> bool:
    """Equal bits, but one NaN is as good as another."""
    if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray):
        return alike(first, second) and (
            not isinstance(first, list) or all(map(same, first, second))
        )
    if not alike(first, second):
        return False
    if first.dtype == object:
        return bool(first.tolist() == second.tolist())
    nan = first != first
    equal = (first == second) | (nan & (second != second))
    return first.tobytes() == second.tobytes() or bool(np.all(equal))


def alike(first: Any, second: Any) -> bool:
    """Equal types and shapes."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return bool(first.dtype == second.dtype and first.shape == second.shape)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(alike, first, second))
    return first is None and second is None


def check(cases: list[Case], what: str, runtime: IsolatedRuntime) -> Outcome:
    outcome = round_trip(cases, runtime)
    outcome.report(what)
    assert not outcome.problems, "\n".join(outcome.problems[:50])
    counted = sum(outcome.counts[name] for name in (*BACKENDS, STRUCTURE))
    assert counted == len(cases)
    return outcome


def test_a_sample_comes_back_whole(
    runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = sample(node_cases(), 120) + sample(data_cases(), 30) + catalog_cases(shipped_only=True)
    with capsys.disabled():
        outcome = check(cases, "a sample", runtime)
    assert outcome.counts["onnxruntime"] > 100
    assert outcome.counts["reference"] > 0


@pytest.mark.whole
def test_every_case_comes_back_whole(
    runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes, data = node_cases(), data_cases()
    assert len(nodes) >= 1884 and len(data) >= 140
    cases = [*nodes, *data, *catalog_cases(), *corpus_cases()]
    with capsys.disabled():
        outcome = check(cases, "every case", runtime)
    assert outcome.counts["onnxruntime"] > 1500
    assert outcome.counts["reference"] > 200


def test_a_difference_would_be_seen(runtime: IsolatedRuntime) -> None:
    """The comparison can fail: a changed weight, a changed type, a lost annotation."""
    case = next(case for case in catalog_cases(shipped_only=True) if case.name == "lenet_5")
    with tempfile.TemporaryDirectory() as name:
        source, new = Path(name) / "source.onnx", Path(name) / "new.onnx"
        source.write_bytes(case.content())
        proto = onnx.load(source)
        changed = ModelProto.FromString(case.content())
        weight = changed.graph.initializer[0]
        array = onnx.numpy_helper.to_array(weight).copy()
        array.reshape(-1)[0] += 0.1
        weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
        new.write_bytes(changed.SerializeToString())
        how, problems = run_both(source, new, case, runtime)
        assert how == "onnxruntime" and problems
        assert differences(proto, changed)
        changed.graph.node[0].op_type = "NoSuchOp"
        assert len(differences(proto, changed)) == 2

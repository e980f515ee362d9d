"""Recipe `exact` over everything there is: never wrong, never another signature, never more nodes.

The result is run against the original here, on inputs of the case's own, beside what graphopt's own
verification said of it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.engine import OptimizeOptions, load_recipe, optimize_model
from graphopt.errors import RuntimeFailure
from graphopt.model import load_model, save_model
from graphopt.runtime import IsolatedRuntime
from graphopt.runtime.isolated import Backend
from graphopt.verify import signature_changes
from graphopt.verify.baseline import perturbed
from graphopt.verify.numeric import difference
from tests.acceptance.cases import (
    Case,
    Feeds,
    catalog_cases,
    corpus_cases,
    data_cases,
    node_cases,
    sample,
)
from tests.acceptance.test_round_trip import BACKENDS, opened, run_original

RECIPE = load_recipe("exact")
LIMIT = 1e-3
NOISE_FACTOR = 20
GROWTH = 64 << 10
"""Bytes that folding small constants may add to a file."""
NOT_IN_THE_CATALOGUE = {
    "deduplicate_nodes",
    "eliminate_expand",
    "eliminate_if",
    "eliminate_inverse",
    "eliminate_loop_state",
    "eliminate_repeated",
    "fuse_casts",
    "fuse_concats",
    "fuse_data_movement",
    "fuse_gather_affine",
    "fuse_gelu",
    "fuse_gemm_batchnorm",
    "fuse_hardswish",
    "fuse_layernorm",
    "fuse_mish",
    "fuse_pad_conv",
    "fuse_repeats",
    "fuse_reshaped_gemm",
    "fuse_rmsnorm",
    "fuse_rolls",
    "fuse_slices",
    "fuse_transposes",
    "hoist_transposes",
    "inline_functions",
    "sink_splits",
    "unroll_loop",
}
"""Passes that find nothing in its models, or that others forestall there."""


@dataclass
class Tally:
    """What a run over many cases found."""

    cases: int = 0
    changed: int = 0
    ran: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    rewrites: Counter[str] = field(default_factory=Counter)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, text: str) -> None:
        self.problems.setdefault(kind, []).append(text)

    def report(self, what: str) -> None:
        """Print the figures past pytest's capture, also out of a worker of xdist."""
        kinds = ("wrong", "signature", "unloadable", "more nodes", "larger", "failed")
        counted = ", ".join(f"{len(self.problems.get(kind, []))} {kind}" for kind in kinds)
        print(
            f"\nexact over {what}: {self.cases} cases, {self.changed} changed: {counted}; "
            f"run by {dict(self.ran)}; {dict(self.statuses)}; rewrites {dict(self.rewrites)}",
            file=sys.stderr,
            flush=True,
        )


@pytest.fixture(scope="module")
def runtime() -> Iterator[IsolatedRuntime]:
    found = IsolatedRuntime(timeout=120.0, threads=2)
    yield found
    found.close()


def check(
    cases: list[Case],
    what: str,
    runtime: IsolatedRuntime,
    capsys: pytest.CaptureFixture[str],
) -> Tally:
    tally = Tally()
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            examine(case, Path(folder), tally, runtime)
    with capsys.disabled():
        tally.report(what)
    lines = [f"{kind}: {text}" for kind, texts in tally.problems.items() for text in texts]
    assert not lines, "\n".join(lines[:50])
    assert tally.cases == len(cases)
    return tally


def examine(case: Case, folder: Path, tally: Tally, runtime: IsolatedRuntime) -> None:
    source, new = folder / "source.onnx", folder / "new.onnx"
    source.write_bytes(case.content())
    model = load_model(source)
    result = optimize_model(model, RECIPE, OptimizeOptions())
    report = result.report
    tally.cases += 1
    tally.statuses[report.status] += 1
    tally.rewrites.update(report.rewrites())
    if report.status == "failed" or report.left_out:
        tally.add("failed", f"{case.name}: {report.status} {report.warnings}")
    if report.after.file_bytes > report.before.file_bytes + GROWTH:
        sizes = f"{report.before.file_bytes} to {report.after.file_bytes}"
        tally.add("larger", f"{case.name}: {sizes} bytes")
    if report.after.nodes > report.before.nodes:
        tally.add("more nodes", f"{case.name}: {report.before.nodes} to {report.after.nodes}")
    if signature_changes(model.proto, result.model.proto):
        tally.add("signature", case.name)
    save_model(result.model, new)
    if not report.changed:
        assert new.read_bytes() == source.read_bytes()
        return
    tally.changed += 1
    compare(case, source, new, tally, runtime)


def compare(case: Case, source: Path, new: Path, tally: Tally, runtime: IsolatedRuntime) -> None:
    for backend in BACKENDS:
        ran = run_original(source, case, backend, runtime)
        if ran is None:
            continue
        feeds, first, second = ran
        tally.ran[backend] += 1
        try:
            with opened(new, backend, runtime) as session:
                outputs = session.run(feeds)
        except RuntimeFailure as error:
            tally.add("unloadable", f"{case.name} ({backend}): {error}")
            return
        steady = [name for name in first if difference(first[name], second[name]).equal]
        far = {name: distance(first[name], outputs.get(name)) for name in steady}
        if any(value > LIMIT for value in far.values()):
            floor = noise(source, feeds, first, backend, runtime)
            far = {n: v for n, v in far.items() if v > max(LIMIT, NOISE_FACTOR * floor[n])}
            for name, value in far.items():
                tally.add("wrong", f"{case.name}: {name} differs by {value:.3g} ({backend})")
        return
    tally.ran["nothing"] += 1


def distance(reference: Any, result: Any) -> float:
    found = difference(reference, result)
    return np.inf if found.mismatch else found.max_rel


def noise(
    source: Path, feeds: Feeds, outputs: Feeds, backend: Backend, runtime: IsolatedRuntime
) -> dict[str, float]:
    """How far each output of the original moves when its inputs move by a millionth."""
    with opened(source, backend, runtime) as session:
        moved = session.run(perturbed(feeds))
    return {name: distance(value, moved[name]) for name, value in outputs.items()}


def test_a_sample_of_the_operators(
    runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    check(sample(node_cases(), 120), "a sample of the operators", runtime, capsys)


def test_a_sample_of_the_data_files(
    runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    check(sample(data_cases(), 20), "a sample of the data files", runtime, capsys)


def test_the_catalogue(runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    tally = check(catalog_cases(), "the catalogue", runtime, capsys)
    assert tally.changed >= 6
    names = {spec.name for stage in RECIPE.stages for spec in stage.passes}
    assert {name for name in names if not tally.rewrites[name]} == NOT_IN_THE_CATALOGUE


@pytest.mark.whole
@pytest.mark.parametrize("part", range(4))
def test_every_operator(
    part: int, runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = node_cases()[part::4]
    check(cases, f"the operators, part {part + 1} of 4", runtime, capsys)


@pytest.mark.whole
def test_every_data_file(runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    check(data_cases(), "the data files", runtime, capsys)


@pytest.mark.whole
def test_the_corpus(runtime: IsolatedRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    check(corpus_cases(), "CORPUS", runtime, capsys)

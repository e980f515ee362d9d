"""Proof that a piece cut out of a model computes what it computed inside the whole.

The whole runs with its inner tensors as further outputs; the piece runs on those of them that it
takes, and must give those of them that it promises.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from graphopt.contract import GraphView
from graphopt.errors import RuntimeFailure
from graphopt.model import Model, save_model
from graphopt.report import Check, Verification
from graphopt.report.record import Status
from graphopt.runtime import IsolatedRuntime, Session
from graphopt.verify.baseline import Baseline, Unusable, establish, first_line
from graphopt.verify.inputs import Feeds, input_specs
from graphopt.verify.intermediates import with_outputs
from graphopt.verify.numeric import Outputs, compare_outputs, difference
from graphopt.verify.structure import check_structure
from graphopt.verify.verifier import VerifyOptions


@dataclass(frozen=True, slots=True)
class _Whole:
    """The whole model, ready to run."""

    model: Model
    baseline: Baseline
    runtime: IsolatedRuntime
    folder: Path

    def recorded(self, names: Sequence[str]) -> list[Outputs]:
        """The named values inside, on each input set and on the first of them once more.

        Raises:
            RuntimeFailure: It does not run with them as outputs.
        """
        own = {info.name for info in self.model.proto.graph.output}
        more = [name for name in dict.fromkeys(names) if name not in own]
        path = save_model(with_outputs(self.model, more), self.folder / "inside.onnx")
        session = Session(path, backend=self.baseline.backend)
        feeds = [*self.baseline.feeds, self.baseline.feeds[0]]
        return _run(self.runtime, session, feeds, list(names))


@contextlib.contextmanager
def _whole(
    original: Model, graph: GraphView, runtime: IsolatedRuntime, options: VerifyOptions
) -> Iterator[_Whole | str]:
    """Run the whole; a reason where that is not possible."""
    if original.weight_bytes > options.limit:
        yield f"weights exceed the verification limit of {options.limit / 2**30:g} GiB"
        return
    with tempfile.TemporaryDirectory(prefix="graphopt-verify-") as name:
        folder = Path(name)
        path = save_model(original, folder / "original.onnx")
        baseline = establish(
            original, graph, path, runtime,
            seed=options.seed, data=options.data, shapes=options.shapes,
        )  # fmt: skip
        if isinstance(baseline, Unusable):
            yield baseline.reason
        else:
            yield _Whole(original, baseline, runtime, folder)


def measured_ranks(
    original: Model, names: Sequence[str], graph: GraphView, runtime: IsolatedRuntime,
    options: VerifyOptions,
) -> dict[str, int]:  # fmt: skip
    """How many dimensions inner tensors have, as far as they have it on every input set.

    Args:
        original: The model.
        names: Tensors of its main graph.
        graph: Its main graph, for hints about input values.
        runtime: Where it runs.
        options: Inputs, seed, limit.

    Raises:
        DataError: The user's own data does not run.
    """
    with _whole(original, graph, runtime, options) as whole:
        if isinstance(whole, str):
            return {}
        try:
            recorded = whole.recorded(names)
        except RuntimeFailure:
            return {}
    found = {}
    for name in names:
        ranks = {getattr(values[name], "ndim", None) for values in recorded}
        rank = ranks.pop()
        if rank is not None and not ranks:
            found[name] = rank
    return found


def prove_piece(
    original: Model, piece: Model, graph: GraphView, runtime: IsolatedRuntime,
    options: VerifyOptions,
) -> Verification:  # fmt: skip
    """Run the whole and the piece, and compare the piece's outputs: bits first, then tolerance.

    Args:
        original: The whole model.
        piece: A part of it, its values under the names that they have in the whole.
        graph: The whole's main graph, for hints about input values.
        runtime: Where models run.
        options: Inputs of the whole, seed, limit.

    Raises:
        DataError: The user's own data does not run.
    """
    rows = check_structure(original.proto, piece.proto)[1:]  # the signature is another by intent
    if any(row.status == "failed" for row in rows):
        return Verification("failed", "none", checks=tuple(rows))
    with _whole(original, graph, runtime, options) as whole:
        if isinstance(whole, str):
            return Verification("not verified", "none", checks=tuple(rows), note=whole)
        more, note = _numbers(whole, piece)
        baseline = whole.baseline
    rows += more
    status = _worst(rows, note)
    return Verification(
        status, baseline.backend, len(baseline.feeds), options.data is None, tuple(rows), note=note
    )


def _numbers(whole: _Whole, piece: Model) -> tuple[list[Check], str]:
    """A row an output, or none and why the whole cannot be looked into."""
    original, baseline = whole.model, whole.baseline
    inputs = [spec.name for spec in input_specs(piece.proto)]
    outputs = [info.name for info in piece.proto.graph.output]
    stored = {t.name: t for t in original.proto.graph.initializer}
    fed = set(baseline.feeds[0])
    inner = [name for name in [*inputs, *outputs] if name not in fed and name not in stored]
    try:
        *recorded, again = whole.recorded(inner)
    except RuntimeFailure as error:
        return [], f"the original does not run with inner outputs: {error.message[:200]}"
    random = frozenset(n for n in inner if not difference(recorded[0][n], again[n]).equal)
    constants = {name: original.tensor(stored[name]).array() for name in inputs if name in stored}
    feeds = [
        {name: {**constants, **given, **inside}[name] for name in inputs}
        for given, inside in zip(baseline.feeds, recorded, strict=True)
    ]
    path = save_model(piece, whole.folder / "piece.onnx")
    try:
        results = _run(whole.runtime, Session(path, backend=baseline.backend), feeds, outputs)
    except RuntimeFailure as error:
        return [Check("runs", "failed", first_line(error, path))], ""
    expected = [{name: inside[name] for name in outputs} for inside in recorded]
    return _compared(expected, results, random.intersection(outputs)), ""


def _compared(
    expected: list[Outputs], results: list[Outputs], random: frozenset[str]
) -> list[Check]:
    # The nodes are the whole's own: an output that does not vary says enough by being the same.
    silent = frozenset(expected[0])
    exact = compare_outputs(expected, results, [], exact=True, constant=silent)
    close = compare_outputs(expected, results, [], exact=False, constant=silent)
    rows = [a if a.status == "ok" else b for a, b in zip(exact, close, strict=True)]
    return [
        replace(row, status="not verified", detail="differs from run to run in the original")
        if row.what in random and row.status != "ok" else row
        for row in rows
    ]  # fmt: skip


def _run(
    runtime: IsolatedRuntime, session: Session, feeds: Sequence[Feeds], names: list[str]
) -> list[Outputs]:
    opened = runtime.open(session)
    try:
        return [opened.run(feed, names) for feed in feeds]
    finally:
        opened.close()


def _worst(rows: Sequence[Check], note: str) -> Status:
    if any(row.status == "failed" for row in rows):
        return "failed"
    return "not verified" if note or any(row.status != "ok" for row in rows) else "ok"

"""Proof that a model whose batch was opened does at any batch what the original does at its own.

The original runs piece by piece at the batch it was made for, the result on the pieces laid end to
end and cut to 1, 2, 3 and other sizes; every output must be the pieces' outputs laid end to end.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from graphopt.contract import Array, GraphView
from graphopt.errors import RuntimeFailure
from graphopt.graph.declared import dims_of
from graphopt.graph.dynamic_batch import Batched
from graphopt.model import Model, save_model
from graphopt.report import Check, Verification
from graphopt.runtime import IsolatedRuntime, Opened, Session
from graphopt.verify.baseline import Baseline, Unusable, establish, first_line, perturbed
from graphopt.verify.inputs import Feeds
from graphopt.verify.numeric import Outputs, compare_outputs, difference
from graphopt.verify.structure import check_structure
from graphopt.verify.verifier import VerifyOptions

_SIZES = (1, 2, 3)


def prove_batches(
    original: Model, batched: Batched, graph: GraphView, runtime: IsolatedRuntime,
    options: VerifyOptions,
) -> Verification:  # fmt: skip
    """Run both models and compare them at several batches.

    Args:
        original: The model with its batch as it was.
        batched: The model with an open batch.
        graph: The original's main graph, for hints about input values.
        runtime: Where models run.
        options: Inputs, seed, limit; data is at the original's batch.

    Raises:
        DataError: The user's own data does not run.
    """
    # The dimensions that were opened are the caller's to check; the rest must hold as ever.
    rows = check_structure(original.proto, batched.model.proto)[1:]
    if any(row.status == "failed" for row in rows):
        return Verification("failed", "none", checks=tuple(rows))
    if original.weight_bytes > options.limit:
        note = f"weights exceed the verification limit of {options.limit / 2**30:g} GiB"
        return Verification("not verified", "none", checks=tuple(rows), note=note)
    with tempfile.TemporaryDirectory(prefix="graphopt-verify-") as folder:
        path = save_model(original, Path(folder, "original.onnx"))
        baseline = establish(
            original, graph, path, runtime,
            seed=options.seed, data=options.data, shapes=options.shapes,
        )  # fmt: skip
        if isinstance(baseline, Unusable):
            return Verification("not verified", "none", checks=tuple(rows), note=baseline.reason)
        proof = _Proof(batched, baseline, runtime, path, Path(folder, "result.onnx"))
        rows += proof.rows(options.seed)
        order = ("failed", "not verified")
        status = next((s for s in order if any(row.status == s for row in rows)), "ok")
        return Verification(
            status, baseline.backend, len(proof.sizes), options.data is None, tuple(rows)  # type: ignore[arg-type]
        )  # fmt: skip


@dataclass(slots=True)
class _Proof:
    batched: Batched
    baseline: Baseline
    runtime: IsolatedRuntime
    original: Path
    result: Path
    sizes: tuple[int, ...] = ()
    pieces: list[Feeds] = field(default_factory=list)
    _following: frozenset[str] = frozenset()

    def rows(self, seed: int) -> list[Check]:
        """One row an output, or one that says at which batch the result does not run."""
        own = self.batched.size
        self.sizes = tuple(sorted({*_SIZES, own, own + 1}))
        self.pieces = self._pieces(math.ceil(self.sizes[-1] / own), seed)
        session = Session(self.original, backend=self.baseline.backend)
        parts = _run_all(self.runtime.open(session), self.pieces)
        save_model(self.batched.model, self.result)
        results = []
        try:
            opened = self._open(self.result)
        except RuntimeFailure as error:
            return [Check("loads", "failed", first_line(error, self.result))]
        try:
            for size in self.sizes:
                results.append(opened.run(self._joined(self.pieces, size)))
        except RuntimeFailure as error:
            said = f"does not run at batch {size}: {first_line(error, self.result)}"
            return [Check("batch", "failed", said + self._blame(size))]
        finally:
            opened.close()
        return self._compared(parts, results)

    def _open(self, path: Path) -> Opened:
        return self.runtime.open(Session(path, backend=self.baseline.backend))

    def _blame(self, size: int) -> str:
        own = self.batched.size
        return "" if size == own else f"; the model bakes its batch of {own} in"

    def _pieces(self, count: int, seed: int) -> list[Feeds]:
        """Input sets at the original's batch that differ in nothing but the batched values."""
        first = {name: self._cut(name, value, 1) for name, value in self.baseline.feeds[0].items()}
        pieces = [first]
        for feeds in self.baseline.feeds[1:]:
            other = {name: self._cut(name, value, 1) for name, value in feeds.items()}
            if all(self._alike(name, first[name], other[name]) for name in first):
                pieces.append(other)
        rng = np.random.default_rng(seed)
        while len(pieces) < count:
            pieces.append({
                name: rng.permuted(value.reshape(-1)).reshape(value.shape)
                if name in self.batched.inputs else value
                for name, value in first.items()
            })  # fmt: skip
        return pieces[:count]

    def _cut(self, name: str, value: Array, pieces: int) -> Array:
        return value[: self.batched.size * pieces] if name in self.batched.inputs else value

    def _alike(self, name: str, a: Array, b: Array) -> bool:
        if name in self.batched.inputs:
            return a.shape == b.shape
        return bool(np.array_equal(a, b))

    def _joined(self, pieces: Sequence[Feeds], size: int) -> Feeds:
        return {
            name: np.concatenate([piece[name] for piece in pieces])[:size]
            if name in self.batched.inputs else value
            for name, value in pieces[0].items()
        }  # fmt: skip

    def _compared(self, parts: list[Outputs], results: list[Outputs]) -> list[Check]:
        per_item = self._per_item(parts[0], results)
        expected = [self._expected(parts, per_item, size) for size in self.sizes]

        def compare(noise: list[Outputs]) -> list[Check]:
            return compare_outputs(
                expected, results, noise, exact=False, constant=self.baseline.constant,
                random=self.baseline.random,
            )  # fmt: skip

        rows = compare([])
        if any(row.status == "failed" for row in rows):
            try:
                changed = [perturbed(piece) for piece in self.pieces]
                moved = _run_all(self._open(self.original), changed)
                rows = compare([self._expected(moved, per_item, size) for size in self.sizes])
            except RuntimeFailure:
                pass  # no noise floor: nothing is excused
        self._following = frozenset(per_item)
        return [self._explained(row, parts, results) for row in rows]

    def _per_item(self, part: Outputs, results: list[Outputs]) -> dict[str, int]:
        """For each output that follows the batch, how many rows it has for one item."""
        found = {}
        for name, value in part.items():
            rows = value.shape[0] // self.batched.size if getattr(value, "ndim", 0) else 0
            if rows and value.shape[0] % self.batched.size == 0 and all(
                getattr(result.get(name), "shape", ())[:1] == (rows * size,)
                for size, result in zip(self.sizes, results, strict=True)
            ):  # fmt: skip
                found[name] = rows
        return found

    def _expected(self, parts: list[Outputs], per_item: Mapping[str, int], size: int) -> Outputs:
        return {
            name: np.concatenate([part[name] for part in parts])[: per_item[name] * size]
            if name in per_item else value
            for name, value in parts[0].items()
        }  # fmt: skip

    def _explained(self, row: Check, parts: list[Outputs], results: list[Outputs]) -> Check:
        """Say why a row failed; fail one that agrees with a single piece and knows no other."""
        same = all(difference(parts[0][row.what], part[row.what]).equal for part in parts)
        if row.status != "failed" and row.what not in self._following and not same:
            shapes = ", ".join(str(np.shape(result[row.what])) for result in results)
            detail = f"does not follow the batch: its shapes are {shapes}"
            row = replace(row, status="failed", detail=detail)
        if row.status == "failed":
            return replace(row, detail=row.detail + self._blame(0))
        return self._declared(row, results)

    def _declared(self, row: Check, results: list[Outputs]) -> Check:
        """Check that dimension 0 of an output is at every batch what the result declares."""
        infos = self.batched.model.proto.graph.output
        dims = next((dims_of(i.type) for i in infos if i.name == row.what), None)
        for size, result in zip(self.sizes, results, strict=True):
            shape = np.shape(result[row.what])
            wanted = dims[0] if dims else None
            wanted = size if wanted == self.batched.symbol else wanted
            if isinstance(wanted, int) and shape[:1] != (wanted,):
                detail = f"is {shape} at batch {size}, {wanted} is declared in dimension 0"
                return replace(row, status="failed", detail=detail + self._blame(size))
        return row


def _run_all(opened: Opened, feeds: Sequence[Feeds]) -> list[Outputs]:
    try:
        return [opened.run(feed) for feed in feeds]
    finally:
        opened.close()

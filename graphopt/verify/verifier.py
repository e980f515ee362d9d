"""The verifier: runs the original once, then every candidate against it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from graphopt.contract import Effect, GraphView
from graphopt.errors import RuntimeFailure
from graphopt.model import Model, save_model
from graphopt.report import Check, Loss, Verification
from graphopt.report.record import Status
from graphopt.runtime import IsolatedRuntime, Opened, Session
from graphopt.runtime.isolated import Backend
from graphopt.verify.baseline import Baseline, Unusable, establish, first_line, perturbed
from graphopt.verify.inputs import Feeds
from graphopt.verify.intermediates import look_inside, with_outputs
from graphopt.verify.layerwise import INPUT_SETS, check_layers
from graphopt.verify.loss import LossUndefined, measure_loss
from graphopt.verify.numeric import CONSTANT, NOISY, Outputs, compare_outputs
from graphopt.verify.structure import check_structure

DEFAULT_LIMIT = 2 << 30
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What a comparison uses.

    Attributes:
        seed: Seed of generated inputs.
        data: The user's input sets, instead of generated ones.
        shapes: Shapes that the user states for generated inputs.
        limit: Bytes of weights above which only what changed is run, region by region.
        provider: Where the deployed loss of a lossy result is measured.
    """

    seed: int = 0
    data: Sequence[Feeds] | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    limit: int = DEFAULT_LIMIT
    provider: str = "cpu"


class Verifier:
    """Compares candidates with one original; ONNX Runtime's optimisations are off in both.

    Args:
        original: The model before any pass.
        graph: Its main graph, for hints about input values.
        runtime: Where models run.
        options: Inputs, seed, limit.
    """

    def __init__(
        self, original: Model, graph: GraphView, runtime: IsolatedRuntime, options: VerifyOptions
    ) -> None:
        self._original = original
        self._graph = graph
        self._runtime = runtime
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="graphopt-verify-"))
        self._baseline: Baseline | Unusable | None = None
        self._noise: list[Outputs] | None = None
        self._generated = options.data is None

    def __enter__(self) -> Verifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def baseline(self) -> Baseline | Unusable:
        """The original's inputs and outputs, or why there are none; worked out once."""
        if self._baseline is None:
            if self._original.weight_bytes > self._options.limit:
                limit = f"{self._options.limit / 2**30:g} GiB"
                self._baseline = Unusable(f"weights exceed the verification limit of {limit}")
            else:
                path = save_model(self._original, self._folder / "original.onnx")
                self._baseline = establish(
                    self._original, self._graph, path, self._runtime,
                    seed=self._options.seed, data=self._options.data, shapes=self._options.shapes,
                )  # fmt: skip
        return self._baseline

    def rebased(self, original: Model) -> Verifier:
        """A verifier that compares with another original, on this one's inputs."""
        baseline = self.baseline()
        data = baseline.feeds if isinstance(baseline, Baseline) else self._options.data
        options = replace(self._options, data=data)
        found = Verifier(original, self._graph, self._runtime, options)
        found._generated = self._generated
        return found

    @property
    def established(self) -> Baseline | None:
        """The baseline, if a comparison has needed one so far."""
        return self._baseline if isinstance(self._baseline, Baseline) else None

    def check(self, candidate: Model, bound: Effect) -> Verification:
        """Check structure and numbers of a candidate.

        Args:
            candidate: The result so far.
            bound: The strongest effect among its rewrites: IDENTICAL asks for equal bits, ROUNDING
                for the tolerance, LOSSY measures the loss.
        """
        rows = check_structure(self._original.proto, candidate.proto)
        if any(row.status == "failed" for row in rows):
            return Verification("failed", "none", checks=tuple(rows))
        if bound is not Effect.LOSSY and self._original.weight_bytes > self._options.limit:
            return self._layer_wise(candidate, rows)
        baseline = self.baseline()
        if isinstance(baseline, Unusable):
            return Verification("not verified", "none", checks=tuple(rows), note=baseline.reason)
        path = self._save(candidate, "candidate.onnx")
        losses: tuple[Loss, ...] = ()
        try:
            if bound is Effect.LOSSY:
                losses = self._losses(path, baseline)
            else:
                rows += self._numbers(candidate, path, baseline, exact=bound is Effect.IDENTICAL)
        except RuntimeFailure as error:
            rows.append(Check("runs", "failed", first_line(error, path)))
        except LossUndefined as error:
            rows.append(Check(error.output, "failed", error.reason))
        return Verification(
            _worst(rows), baseline.backend, len(baseline.feeds), self._generated,
            tuple(rows), losses,
        )  # fmt: skip

    def _layer_wise(self, candidate: Model, rows: list[Check]) -> Verification:
        """Compare only what changed: the whole is too large to run."""

        def run(piece: Model, feeds: Sequence[Feeds], names: list[str]) -> list[Outputs]:
            return self._run(self._save(piece, "region.onnx"), "onnxruntime", feeds, names)

        try:
            row = check_layers(
                self._original, candidate, seed=self._options.seed, limit=self._options.limit,
                run=run,
            )  # fmt: skip
        except RuntimeFailure as error:
            row = Check("layers", "not verified", error.message[:300])
        rows = [*rows, row]
        note = row.detail if row.status == "not verified" else ""
        return Verification(_worst(rows), "layer-wise", INPUT_SETS, checks=tuple(rows), note=note)

    def _numbers(
        self, candidate: Model, path: Path, baseline: Baseline, *, exact: bool
    ) -> list[Check]:
        results = self._run(path, baseline.backend, baseline.feeds)

        def compare(noise: list[Outputs]) -> list[Check]:
            return compare_outputs(
                baseline.outputs, results, noise, exact=exact, constant=baseline.constant,
                random=baseline.random,
            )  # fmt: skip

        rows = _excused(compare, lambda: self._noise_of(baseline), exact=exact)
        if any(row.detail in (CONSTANT, NOISY) for row in rows):
            rows = self._settle(candidate, baseline, rows, exact=exact)
        return rows

    def _settle(
        self, candidate: Model, baseline: Baseline, rows: list[Check], *, exact: bool
    ) -> list[Check]:
        """Let tensors inside both models speak for outputs that say nothing."""
        inside = look_inside(self._original, candidate)
        wrong: list[Check] = []

        def agree(names: list[str]) -> set[str]:
            checks = self._checks_inside(candidate, baseline, names, exact=exact)
            wrong.extend(row for row in checks if row.status == "failed")
            return {row.what for row in checks if row.status == "ok"}

        settled = []
        for row in rows:
            if row.detail in (CONSTANT, NOISY):
                agreed = inside.settles(row.what, agree)
                if row.detail == CONSTANT and wrong:
                    detail = f"{CONSTANT}, and {wrong[0].what} inside: {wrong[0].detail}"
                    row = replace(row, status="failed", detail=detail)
                elif agreed is not None:
                    why = f"{agreed} tensors inside agree" if agreed else "computed as before"
                    detail = f"{row.detail}; {why}"
                    row = replace(row, status="ok", detail=detail)
            settled.append(row)
        return settled

    def _checks_inside(
        self, candidate: Model, baseline: Baseline, names: list[str], *, exact: bool
    ) -> list[Check]:
        original = self._save(with_outputs(self._original, names), "original-inside.onnx")
        changed = self._save(with_outputs(candidate, names), "candidate-inside.onnx")
        try:
            references = self._run(original, baseline.backend, baseline.feeds, names)
            results = self._run(changed, baseline.backend, baseline.feeds, names)
            return _excused(
                lambda noise: compare_outputs(references, results, noise, exact=exact),
                lambda: self._run_perturbed(original, baseline, names),
                exact=exact,
            )
        except RuntimeFailure:
            return []

    def _losses(self, path: Path, baseline: Baseline) -> tuple[Loss, ...]:
        format_loss = measure_loss(
            "off", baseline.outputs, self._run(path, baseline.backend, baseline.feeds)
        )
        if baseline.backend == "reference":
            return (format_loss,)
        deployed = self._run_deployed(path, baseline.feeds)
        return format_loss, measure_loss("all", baseline.outputs, deployed)

    def _run_deployed(self, path: Path, feeds: Sequence[Feeds]) -> list[Outputs]:
        providers = (_PROVIDERS[self._options.provider],)
        session = Session(path, level="all", providers=providers)
        return _run_all(self._runtime.open(session), feeds, None)

    def _run(
        self, path: Path, backend: Backend, feeds: Sequence[Feeds], names: list[str] | None = None
    ) -> list[Outputs]:
        return _run_all(self._runtime.open(Session(path, backend=backend)), feeds, names)

    def _noise_of(self, baseline: Baseline) -> list[Outputs]:
        if self._noise is None:
            try:
                self._noise = self._run_perturbed(self._folder / "original.onnx", baseline)
            except RuntimeFailure:
                self._noise = []
        return self._noise

    def _run_perturbed(
        self, path: Path, baseline: Baseline, names: list[str] | None = None
    ) -> list[Outputs]:
        changed = [perturbed(feeds) for feeds in baseline.feeds]
        return self._run(path, baseline.backend, changed, names)

    def _save(self, model: Model, name: str) -> Path:
        return save_model(model, self._folder / name)


def _run_all(opened: Opened, feeds: Sequence[Feeds], names: list[str] | None) -> list[Outputs]:
    try:
        return [opened.run(feed, names) for feed in feeds]
    finally:
        opened.close()


def _excused(
    compare: Callable[[list[Outputs]], list[Check]],
    noise: Callable[[], list[Outputs]],
    *,
    exact: bool,
) -> list[Check]:
    """Compare, and ask for the noise floor only where something fails that it may excuse."""
    rows = compare([])
    if not exact and any(row.status == "failed" for row in rows):
        rows = compare(noise())
    return rows


def _worst(rows: Sequence[Check]) -> Status:
    order: tuple[Status, ...] = ("failed", "not verified")
    return next((status for status in order if any(r.status == status for r in rows)), "ok")

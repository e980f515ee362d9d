"""What a run did, as data. Everything here is measured by the engine, never claimed by a pass."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any, Literal

SCHEMA_VERSION = 1
"""Raised when a field of the JSON report changes its type or meaning, or goes away.

Fields and enumerated words may be added meanwhile: read what you know, leave the rest. So a report
validates against the schema of the graphopt that wrote it, and, but for an added word, of every
earlier one of the same version.
"""

_REASONS = 3

EffectName = Literal["identical", "rounding", "lossy"]
"""contract.Effect by value: a report can be made and read where numpy is not to be had."""

Status = Literal["ok", "failed", "not verified"]


@dataclass(frozen=True, slots=True)
class ModelStats:
    """What a model is made of. None means unknown, and is printed so.

    Attributes:
        nodes: Nodes in the main graph, in bodies and in functions, Constant nodes included.
        constant_nodes: How many of them are Constant nodes.
        ops: Node count by operator, most frequent first.
        initializers: Stored initializers, those of bodies included.
        parameters: Elements of floating-point constants.
        weight_bytes: Bytes of all stored tensors.
        file_bytes: Bytes on disk, external data included.
        macs: Multiply-accumulates of one run at `macs_at`.
        peak_activation_bytes: Largest sum of live activations in node order, at `macs_at`.
        macs_at: Input shapes used for the two.
        dtypes: Bytes of stored tensors by element type.
        sparsity: Share of zeros among floating-point parameters.
        opaque_nodes: Nodes that passes leave alone.
    """

    nodes: int
    constant_nodes: int
    ops: dict[str, int]
    initializers: int
    parameters: int
    weight_bytes: int
    file_bytes: int
    macs: int | None
    peak_activation_bytes: int | None
    macs_at: dict[str, list[int]]
    dtypes: dict[str, int]
    sparsity: float | None
    opaque_nodes: int
    functions: int
    ir_version: int
    opsets: dict[str, int]


@dataclass(frozen=True, slots=True)
class Check:
    """One compared value, or one property that was checked.

    Attributes:
        what: The output's name, or the property ("signature", "checker").
        status: How it went.
        detail: Why it is not ok, in one line.
        max_abs: Largest absolute difference seen over all inputs.
        max_rel: That difference relative to the tensor's largest value.
        tolerance: The bound on max_rel; 0 asks for equal bits.
    """

    what: str
    status: Status
    detail: str = ""
    max_abs: float | None = None
    max_rel: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """How far a lossy result is from the original, over all outputs and inputs.

    Attributes:
        level: ONNX Runtime's optimisation level: `off` shows what the format loses, `all` what
            the deployed session loses.
        snr_db: Signal-to-noise ratio in dB over the floating-point outputs; inf when equal.
        max_rel: Largest difference relative to its output's largest value.
        top1_agreement: Share of rows whose largest element stays the same, where that makes sense.
    """

    level: str
    snr_db: float
    max_rel: float
    top1_agreement: float | None


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of comparing a result with the original.

    Attributes:
        status: The worst of all checks.
        method: What ran the models: `onnxruntime`, `reference`, or `none`.
        inputs: How many input sets were compared.
        generated: True when the inputs were made from a seed, False for the user's data.
        checks: One row per output and property.
        losses: For lossy stages, the loss at each level.
        note: Why nothing could be compared, if so.
    """

    status: Status
    method: str
    inputs: int = 0
    generated: bool = True
    checks: tuple[Check, ...] = ()
    losses: tuple[Loss, ...] = ()
    note: str = ""

    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.status == "failed"]


@dataclass(frozen=True, slots=True)
class PassResult:
    """What one pass did in one stage.

    Attributes:
        rewrites: Rewrites that stand at the stage's end.
        skipped: Refusals by reason, counted in the last round.
        seconds: Wall time over all rounds.
        effect: The strongest effect that the pass declares for its rewrites.
    """

    name: str
    rewrites: int
    skipped: dict[str, int]
    seconds: float
    effect: EffectName = "rounding"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rewrite that failed a check and was taken back."""

    pass_name: str
    root: str
    label: str
    ordinal: int
    reason: str


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of the recipe.

    Attributes:
        rounds: Rounds run; the last one of a fixed point made no edit.
        fixed_point: False when the round limit stopped it.
        taken_back: Why none of its rewrites stands, when the whole stage had to be taken back.
    """

    rounds: int
    fixed_point: bool
    passes: tuple[PassResult, ...]
    verification: Verification
    left_out: tuple[LeftOut, ...] = ()
    taken_back: str = ""

    @property
    def idle(self) -> list[PassResult]:
        """Lossy passes of which no rewrite stands: the recipe wanted them to do something."""
        return [r for r in self.passes if r.effect == "lossy" and not r.rewrites]

    def idle_lines(self) -> list[str]:
        """One line for each idle pass, with its most frequent refusals."""
        return [
            f"{result.name} changed nothing: "
            + ("the stage was taken back" if self.taken_back else _frequent(result.skipped))
            for result in self.idle
        ]


def _frequent(skipped: dict[str, int]) -> str:
    reasons = sorted(skipped.items(), key=lambda item: -item[1])
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons[:_REASONS])
    more = f"; {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return listed + more or "nothing it looks for is there"


@dataclass(frozen=True, slots=True)
class RequirementOutcome:
    """A condition that the result had to meet, and whether it does.

    Attributes:
        text: The condition, always the one that must hold: `nodes_ratio <= 0.9`.
        metric: What was measured: `nodes_ratio`.
        value: What was found; None when it could not be measured.
        met: Whether the condition holds; None when nobody knows, which is no success either.
        detail: Why the value is not known, or where it comes from.
    """

    text: str
    metric: str
    value: float | None
    met: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One run, whole.

    Attributes:
        status: `verified`, `unverified` (nothing could be compared, or not everything), `failed`.
        changed: False when nothing was changed: the output is the input's own bytes, but for the
            provenance where that was asked for.
        requirements: What was required of the result, in the order given.
        dropped_outputs: Outputs of the original that were dropped on purpose.
        excluded: Labels of the nodes that were left alone on purpose.
    """

    status: Literal["verified", "unverified", "failed"]
    changed: bool
    source: str | None
    source_sha256: str | None
    output: str | None
    recipe: str
    recipe_digest: str
    seed: int
    before: ModelStats
    after: ModelStats
    stages: tuple[StageReport, ...]
    warnings: tuple[str, ...]
    versions: dict[str, str]
    seconds: float
    requirements: tuple[RequirementOutcome, ...] = ()
    dropped_outputs: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    schema: int = field(default=SCHEMA_VERSION)

    @property
    def left_out(self) -> list[LeftOut]:
        """Every rewrite that was taken back."""
        return [item for stage in self.stages for item in stage.left_out]

    @property
    def idle(self) -> list[PassResult]:
        """Lossy passes of which no rewrite stands, over all stages."""
        return [result for stage in self.stages for result in stage.idle]

    def idle_lines(self) -> list[str]:
        """One line for each of them, with its most frequent refusals."""
        return [line for stage in self.stages for line in stage.idle_lines()]

    @property
    def unmet(self) -> list[RequirementOutcome]:
        """Every requirement that is not known to hold; a pipeline fails when there is one."""
        return [outcome for outcome in self.requirements if not outcome.met]

    def rewrites(self) -> dict[str, int]:
        """Standing rewrites by pass, over all stages."""
        counts: dict[str, int] = {}
        for stage in self.stages:
            for result in stage.passes:
                counts[result.name] = counts.get(result.name, 0) + result.rewrites
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `schema` says which shape it has."""
        return asdict(self)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report as it is written to .json files."""
    path = files("graphopt.report").joinpath("schemas", f"report-{SCHEMA_VERSION}.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found

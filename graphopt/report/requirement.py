"""Requirements: conditions that a result must meet, in one grammar for every command.

    METRIC OP NUMBER        nodes_ratio <= 0.9        snr_db >= 40

It is always the condition that must hold, never the one that fails. Ratios are result / original:
below 1 is smaller or faster.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from graphopt.errors import UsageError
from graphopt.report.record import Loss, ModelStats, Report, RequirementOutcome

Tool = Literal["optimize", "bench"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What can be required.

    Attributes:
        meaning: What the number is, in a few words.
        measured_by: The command that measures it.
        may_be_negative: False when a limit below zero can only be a mistake.
    """

    meaning: str
    measured_by: Tool = "optimize"
    may_be_negative: bool = False


METRICS = {
    "size_ratio": Metric("bytes on disk"),
    "nodes_ratio": Metric("operator nodes, Constant nodes left out"),
    "parameters_ratio": Metric("elements of floating-point constants"),
    "macs_ratio": Metric("multiply-accumulates of one run"),
    "activation_ratio": Metric("peak bytes of live activations"),
    "snr_db": Metric("signal-to-noise ratio against the original, in dB", may_be_negative=True),
    "top1_drop_points": Metric("rows whose largest element changed, in percentage points"),
    "latency_ratio": Metric("time of one run", measured_by="bench"),
    "p99_ms": Metric("99th percentile of the time of one run, in ms", measured_by="bench"),
}
"""Every metric by name; names ending in `_ratio` are result / original."""

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

_EXAMPLE = "for example 'nodes_ratio <= 0.9', in quotes for the shell"
_FORM = re.compile(r"\s*([^\s<>=!]*)\s*([<>=!]*)\s*(\S*)\s*")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition that must hold.

    Attributes:
        metric: A name in METRICS.
        operator: A name in OPERATORS.
        limit: The number on its right, finite.
        text: The condition as it is shown: `nodes_ratio <= 0.9`.
    """

    metric: str
    operator: str
    limit: float
    text: str

    @property
    def measured_by(self) -> Tool:
        """The command that measures the metric."""
        return METRICS[self.metric].measured_by

    def holds(self, value: float) -> bool:
        """Whether it holds for a measured value; for NaN it never does."""
        return OPERATORS[self.operator](value, self.limit)


def parse_requirement(text: str) -> Requirement:
    """Read `METRIC OP NUMBER`.

    A condition that is easily met, such as `snr_db <= 40`, is taken as it stands: what must hold is
    the user's to say.

    Raises:
        UsageError: An unknown metric or operator, or a number that means nothing for the metric.
    """
    form = _FORM.fullmatch(text)
    if form is None or not all(form.groups()):
        raise UsageError(f"requirement {text!r} is not METRIC OP NUMBER", hint=_EXAMPLE)
    metric, sign, number = form.groups()
    if metric not in METRICS:
        raise UsageError(f"requirement {text!r}: no metric {metric!r}", hint=_closest(metric))
    if sign not in OPERATORS:
        hint = f"one of: {' '.join(OPERATORS)}"
        raise UsageError(f"requirement {text!r}: no operator {sign!r}", hint=hint)
    limit = float(number) if _NUMBER.fullmatch(number) else math.nan
    if not math.isfinite(limit):
        raise UsageError(f"requirement {text!r}: {number!r} is not a finite number")
    if limit < 0 and not METRICS[metric].may_be_negative:
        raise UsageError(f"requirement {text!r}: {metric} is never negative")
    return Requirement(metric, sign, limit, f"{metric} {sign} {number}")


def check_measurable(requirements: Iterable[Requirement], tool: Tool) -> None:
    """Check that a command measures every metric that is required of it.

    Raises:
        UsageError: Another command measures one of them.
    """
    known = ", ".join(name for name, metric in METRICS.items() if metric.measured_by == tool)
    for requirement in requirements:
        if requirement.measured_by != tool:
            raise UsageError(
                f"requirement {requirement.text!r}: graphopt {tool} does not measure "
                f"{requirement.metric}",
                hint=f"that is for graphopt {requirement.measured_by}; {tool} measures {known}",
            )


def decide(requirement: Requirement, report: Report) -> RequirementOutcome:
    """Hold a requirement against what a run measured.

    The loss is the worse of what the format loses and what the deployed session loses. Where no
    lossy rewrite stands and the result is verified, it is none: `snr_db` is inf.

    Args:
        requirement: One that "optimize" measures.
        report: The run, whole.
    """
    value, detail = _MEASURES[requirement.metric](report)
    met = None if value is None else requirement.holds(value)
    return RequirementOutcome(requirement.text, requirement.metric, value, met, detail)


Measured = tuple[float | None, str]
"""A value and where it comes from, or None and why it is not known."""

_Found = tuple[float, str]
"""A loss and the optimisation level that it was measured at."""


def _ratio(count: Callable[[ModelStats], int | None]) -> Callable[[Report], Measured]:
    def measured(report: Report) -> Measured:
        before, after = count(report.before), count(report.after)
        if before is None or after is None:
            return None, f"unknown for the {'original' if before is None else 'result'}"
        if before == after:
            return 1.0, ""
        return (after / before if before else math.inf), ""

    return measured


def _loss(
    of: Callable[[Loss], float | None], worse: Callable[[list[_Found]], _Found], none: float
) -> Callable[[Report], Measured]:
    def measured(report: Report) -> Measured:
        losses = report.stages[-1].verification.losses
        if not losses:
            if report.status != "verified" or any(s.verification.losses for s in report.stages):
                return None, "the result could not be compared with the original"
            return none, "verified, no lossy rewrite stands"
        found = [(value, loss.level) for loss in losses if (value := of(loss)) is not None]
        if len(found) < len(losses):
            return None, "no output has rows to compare"
        if any(math.isnan(value) for value, _ in found):
            return None, "not a number"
        value, level = worse(found)
        return value, f"optimisations {level}"

    return measured


def _drop(loss: Loss) -> float | None:
    if loss.top1_agreement is None:
        return None
    # One row in a thousand is 0.1 points, not 0.10000000000000009, which `<= 0.1` would refuse.
    return round(100 * (1 - loss.top1_agreement), 9)


_MEASURES: dict[str, Callable[[Report], Measured]] = {
    "size_ratio": _ratio(lambda stats: stats.file_bytes),
    "nodes_ratio": _ratio(lambda stats: stats.nodes - stats.constant_nodes),
    "parameters_ratio": _ratio(lambda stats: stats.parameters),
    "macs_ratio": _ratio(lambda stats: stats.macs),
    "activation_ratio": _ratio(lambda stats: stats.peak_activation_bytes),
    "snr_db": _loss(lambda loss: loss.snr_db, min, math.inf),
    "top1_drop_points": _loss(_drop, max, 0.0),
}


def _closest(metric: str) -> str:
    close = difflib.get_close_matches(metric, METRICS, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(METRICS)}"

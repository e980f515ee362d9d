"""A profile by operator and provider."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from graphopt.report.bench import NodeTime


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """What the nodes of one operator take on one provider.

    Attributes:
        op_type: The operator.
        provider: The execution provider that ran them.
        nodes: How many nodes.
        run_ms: Milliseconds of one run of the model.
        share: Of the time of all nodes.
    """

    op_type: str
    provider: str
    nodes: int
    run_ms: float
    share: float


def short_provider(name: str) -> str:
    """`CPU` for `CPUExecutionProvider`."""
    return name.removesuffix("ExecutionProvider") or name


def operator_times(profile: Iterable[NodeTime]) -> list[OperatorTime]:
    """A profile by operator and provider, the longest first.

    A run is taken to be as many calls as most nodes have; nodes in a loop's body have more.
    """
    nodes = list(profile)
    runs = statistics.mode(node.calls for node in nodes) if nodes else 1
    groups: dict[tuple[str, str], list[NodeTime]] = {}
    for node in nodes:
        groups.setdefault((node.op_type, node.provider), []).append(node)
    found = [
        OperatorTime(
            op_type, provider, len(group),
            sum(node.calls * node.mean_us for node in group) / max(runs, 1) / 1000,
            sum(node.share for node in group),
        )
        for (op_type, provider), group in groups.items()
    ]  # fmt: skip
    return sorted(found, key=lambda row: (-row.run_ms, row.op_type, row.provider))

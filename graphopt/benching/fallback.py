"""The judgement on nodes that ran elsewhere: a figure of another device is no figure."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.errors import ProviderUnavailable
from graphopt.report.bench import PlacedNode, Placement
from graphopt.runtime.settings import CPU

LIMIT = 0.01
"""Share of the multiply-accumulates, or of the bytes, that may be elsewhere: shapes are computed
on the CPU by every provider."""

_NAMED = 3
"""So many nodes are named; the report has all."""


def check_fallback(
    placement: Placement, provider: str, *, strict: bool, allow: bool, file: object = None
) -> None:
    """Refuse a placement that leaves work to another provider.

    Args:
        placement: Which provider ran what.
        provider: The one asked for; on the CPU there is nothing to judge.
        strict: Refuse any node elsewhere, however small.
        allow: Refuse none.
        file: The model, for the message.

    Raises:
        ProviderUnavailable: More than LIMIT is elsewhere, or nobody knows how much.
    """
    elsewhere = placement.elsewhere
    if allow or provider == CPU or not elsewhere:
        return
    shares = (placement.macs_elsewhere, placement.bytes_elsewhere)
    known = [share for share in shares if share is not None]
    small = bool(known) and max(known) <= LIMIT
    if small and not strict:
        return
    others = ", ".join(sorted({node.provider for node in elsewhere}))
    raise ProviderUnavailable(
        f"{provider} leaves {_count(elsewhere)} to {others}, with {_worded(*shares)}: "
        f"{_listed(elsewhere)}",
        file=file,
        hint=f"without --strict-provider, up to {LIMIT:.0%} may run elsewhere"
        if small
        else "--allow-fallback measures it as it is",
    )


def _count(nodes: Sequence[PlacedNode]) -> str:
    return "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"


def _worded(macs: float | None, size: float | None) -> str:
    return f"{_percent(macs)} of the multiply-accumulates and {_percent(size)} of the bytes"


def _percent(share: float | None) -> str:
    if share is None:
        return "an unknown share"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{share * 100:.0f} %"


def _listed(nodes: Sequence[PlacedNode]) -> str:
    named = [f"{n.op_type} {n.name}".rstrip() for n in nodes[:_NAMED]]
    more = len(nodes) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")

"""Which execution provider ran which node, and the share of the work that went elsewhere.

Two records of ONNX Runtime are put together. The assignment names every node with its provider,
also those that a provider then fuses into one (OpenVINO, TensorRT); the profile of one run has the
shapes and bytes of what was executed, and so of every node that was left to another provider. What
a fused node does inside shows in neither, so the whole that shares refer to is taken from one more
run, on the CPU alone, where each node is by itself.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx import NodeProto

from graphopt.benching.executed import executed_macs
from graphopt.benching.fresh import Job, ask_fresh
from graphopt.contract import Array
from graphopt.graph.stats import every_node
from graphopt.model import Model
from graphopt.report.bench import PlacedNode, Placement
from graphopt.runtime.settings import CPU, Provider, SessionSettings

_SUFFIX = "_kernel_time"
_HOLDERS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""What they read and write is what the nodes of their bodies do, which are counted themselves."""

_CAPTURE = "enable_cuda_graph"
"""A captured graph is replayed as one; nodes would not show."""

Row = Mapping[str, Any]


def measure_placement(
    path: Path,
    settings: SessionSettings,
    feeds: Mapping[str, Array],
    model: Model,
    macs: int | None = None,
) -> Placement:
    """Run a model once in a fresh process and see which provider ran what.

    ONNX Runtime's optimisations are held at `basic`: those beyond it come after nodes have got
    their provider, and would rename and fuse what is left on the CPU.

    Args:
        path: The .onnx file.
        settings: How its session is made.
        feeds: Input arrays by name.
        model: The same model, read: some operators say only there how much they multiply.
        macs: Multiply-accumulates of one run, for where the CPU cannot run it all.

    Returns:
        The shares and nodes off `settings.provider`; none are when that is the CPU.

    Raises:
        RuntimeFailure: The model does not load or run, crashed the process, or took too long.
        ProviderUnavailable: The execution provider is not to be had here.
    """
    found = ask_fresh(place_once, path, settings, feeds)
    nodes = list(every_node(model.proto))
    return summarise(found, settings.provider.name, nodes, macs)


def place_once(job: Job) -> dict[str, Any]:
    """In the child: run the model on its provider and, if nodes are elsewhere, on the CPU.

    Returns:
        `assigned`: provider, name, op_type of each node; `executed`: what `executed_rows` gives;
        `on_cpu`: the same of the run on the CPU, None when there was none or it failed.
    """
    settings = _plain(job.settings)
    assigned, executed = _run(dataclasses.replace(job, settings=settings), "placed")
    found: dict[str, Any] = {"assigned": assigned, "executed": executed, "on_cpu": None}
    if all(row["provider"] == settings.provider.name for row in [*assigned, *executed]):
        return found
    # Without the user's entries: they may forbid the very fallback that is to be weighed.
    alone = dataclasses.replace(settings, provider=Provider(CPU), config={})
    try:
        found["on_cpu"] = _run(dataclasses.replace(job, settings=alone), "on_cpu")[1]
    except Exception:  # the CPU lacks an operator or a type that the provider has
        found["on_cpu"] = None
    return found


def _plain(settings: SessionSettings) -> SessionSettings:
    """The settings, changed so that every node that is executed shows, with all its inputs."""
    provider = settings.provider
    options = {key: value for key, value in provider.options.items() if key != _CAPTURE}
    return dataclasses.replace(
        settings,
        provider=Provider(provider.name, options),
        level="off" if settings.level == "off" else "basic",
        prepacking=False,  # a rearranged weight is no input any more
        record_placement=True,
    )


def _run(job: Job, prefix: str) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    session = job.open(profile_prefix=prefix)
    assigned = [
        {"provider": part.ep_name, "name": node.name, "op_type": node.op_type}
        for part in _assignment(session)
        for node in part.get_nodes()
    ]
    job.run(session)
    profile = Path(session.end_profiling())
    events = json.loads(profile.read_text(encoding="utf-8", errors="replace"))
    return assigned, executed_rows(events)


def _assignment(session: Any) -> Sequence[Any]:
    """Parts of the graph by provider; none before ONNX Runtime 1.24."""
    ask_session = getattr(session, "get_provider_graph_assignment_info", None)
    return [] if ask_session is None else ask_session()


def executed_rows(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the profile of one run tells of each node.

    Returns:
        `provider`, `name`, `op_type`, shapes of `inputs` and `outputs`, `bytes` that one call reads
        and writes, and `calls`: a row for each node and shapes, as bodies of loops run often.
    """
    rows: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith(_SUFFIX):
            continue
        told = event["args"]
        sizes = [int(told[f"{part}_size"]) for part in ("activation", "parameter", "output")]
        row = {
            "provider": told["provider"],
            "name": event["name"].removesuffix(_SUFFIX),
            "op_type": told["op_name"],
            "inputs": _shapes(told["input_type_shape"]),
            "outputs": _shapes(told["output_type_shape"]),
            "bytes": 0 if told["op_name"] in _HOLDERS else sum(sizes),
        }
        rows.setdefault(str(row), {**row, "calls": 0})["calls"] += 1
    return list(rows.values())


def _shapes(told: Iterable[Mapping[str, list[int]]]) -> list[list[int]]:
    return [shape for one in told for shape in one.values()]


def summarise(
    found: Mapping[str, Any], provider: str, nodes: Sequence[NodeProto], macs: int | None
) -> Placement:
    """Put the records together.

    Args:
        found: What `place_once` gives.
        provider: The execution provider asked for.
        nodes: The model's nodes, bodies included.
        macs: Multiply-accumulates of one run, for where it did not run on the CPU.

    Returns:
        The placement. Shares are None where unknown. Without a run on the CPU the bytes are a share
        of what was executed, in which a fused node counts with its ends alone.
    """
    executed, assigned = found["executed"], found["assigned"]
    elsewhere = [
        *_summed([row for row in executed if row["provider"] != provider], nodes),
        *_idle([row for row in assigned if row["provider"] != provider], executed),
    ]
    elsewhere.sort(key=_weight, reverse=True)
    whole = found["on_cpu"]
    counted = _known(executed_macs(row, nodes) for row in whole or [])
    listed = assigned or {_identity(row): row for row in executed}.values()
    return Placement(
        nodes=dict(Counter(row["provider"] for row in listed).most_common()),
        macs_elsewhere=_share([n.macs for n in elsewhere], counted if whole else macs),
        bytes_elsewhere=_share(
            [node.bytes for node in elsewhere],
            sum(row["bytes"] * row["calls"] for row in whole or executed),
        ),
        elsewhere=elsewhere,
    )


def _summed(rows: Sequence[Row], nodes: Sequence[NodeProto]) -> list[PlacedNode]:
    grouped: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault(_identity(row), []).append(row)
    return [
        PlacedNode(
            name=name,
            op_type=op_type,
            provider=provider,
            macs=_known(executed_macs(row, nodes) for row in parts),
            bytes=sum(row["bytes"] * row["calls"] for row in parts),
        )
        for (provider, name, op_type), parts in grouped.items()
    ]


def _idle(assigned: Sequence[Row], executed: Sequence[Row]) -> list[PlacedNode]:
    """Nodes that were not executed: those of a branch not taken, of a loop that turned no time."""
    ran = {(row["name"], row["op_type"]) for row in executed}
    # ONNX Runtime calls nodes without a name by operator and number, in the profile alone.
    ran |= {("", op_type) for _, op_type in ran}
    return [
        PlacedNode(row["name"], row["op_type"], row["provider"], 0, 0)
        for row in assigned
        if (row["name"], row["op_type"]) not in ran
    ]


def _identity(row: Row) -> tuple[str, str, str]:
    return row["provider"], row["name"], row["op_type"]


def _weight(node: PlacedNode) -> tuple[bool, int, int]:
    """The heaviest is the largest; one of unknown weight may be any."""
    return node.macs is None, node.macs or 0, node.bytes or 0


def _known(counts: Iterable[int | None]) -> int | None:
    """Their sum, None when one is unknown."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def _share(parts: Sequence[int | None], whole: int | None) -> float | None:
    part = _known(parts)
    if part == 0:
        return 0.0
    return min(1.0, part / whole) if part is not None and whole else None

"""The time of each node, from ONNX Runtime's own profile."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from graphopt.benching.fresh import Job, ask_fresh
from graphopt.contract import Array
from graphopt.report.bench import NodeTime
from graphopt.runtime.settings import SessionSettings

WARMUP = 1
"""Runs that are profiled and not counted: the first one allocates what the others use again."""

_SUFFIX = "_kernel_time"
"""ONNX Runtime puts it behind a node's name: the kernel's run, not the waiting before and after."""

_USED = frozenset({"op_name", "provider", "node_index", "mem_arena_held"})
"""What is read of an event's arguments; the others take 2 GB at a million events."""

Event = Mapping[str, Any]


def measure_profile(
    path: Path, settings: SessionSettings, feeds: Mapping[str, Array], runs: int
) -> list[NodeTime]:
    """Profile a model in a fresh process.

    Nodes of bodies (If, Loop, Scan) are listed too, and their time is not counted a second time
    in the node that holds the body. On a GPU the times are those of launching the kernels.

    Args:
        path: The .onnx file.
        settings: How to make its session.
        feeds: Input arrays by name.
        runs: How many runs are counted, after WARMUP more.

    Returns:
        The nodes, the longest first, as ONNX Runtime left them after its optimisations.

    Raises:
        RuntimeFailure: The model does not load or run, crashed the process, or took too long.
        ProviderUnavailable: The execution provider is not to be had here.
    """
    found = ask_fresh(profile_once, path, settings, feeds, runs)
    return [NodeTime(**row) for row in found]


def profile_once(job: Job) -> list[dict[str, Any]]:
    """In the child: profile it, and give `node_times` as plain data."""
    events = profiled(job, WARMUP + job.runs)
    return [asdict(row) for row in node_times(events, WARMUP)]


def profiled(job: Job, runs: int) -> list[Event]:
    """In the child: run a session with profiling, and give its events."""
    session = job.open(profile_prefix="profile")
    for _ in range(runs):
        job.run(session)
    return list(read_events(Path(session.end_profiling())))


def read_events(path: Path) -> Iterator[Event]:
    """The events of a profile, each in a line of its own, without arguments that nobody reads.

    Raises:
        ValueError: A line that is neither an event nor a bracket.
    """
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip().removesuffix(",")
            if text not in ("", "[", "]"):
                event = json.loads(text)
                known = event.get("args", {})
                yield {**event, "args": {key: known[key] for key in _USED & known.keys()}}


def node_times(events: Iterable[Event], warmup: int) -> list[NodeTime]:
    """Sum up the kernels by node.

    Args:
        events: A profile's events, in any order.
        warmup: The first so many runs are left out, and so is a last one that is incomplete
            (ONNX Runtime stops recording after a million events).

    Returns:
        The nodes, the longest first; none when no run is left.
    """
    listed = list(events)
    whole = sorted(
        (event["ts"], event["ts"] + event["dur"])
        for event in listed
        if event["name"] == "model_run"
    )[warmup:]
    if not whole:
        return []
    first, last = whole[0][0], whole[-1][1]
    kernels = [event for event in listed if _is_kernel(event) and first <= event["ts"] <= last]
    calls: dict[tuple[str, ...], int] = defaultdict(int)
    spent: dict[tuple[str, ...], float] = defaultdict(float)
    for event, own in zip(kernels, _own_times(kernels), strict=True):
        key = _key(event)
        calls[key] += 1
        spent[key] += own
    total = sum(spent.values())
    rows = [
        NodeTime(
            name=key[0],
            op_type=key[1],
            provider=key[2],
            calls=calls[key],
            mean_us=own / calls[key],
            # A clock of whole microseconds may see nothing of a tiny model.
            share=own / total if total else 1 / len(spent),
        )
        for key, own in spent.items()
    ]
    return sorted(rows, key=lambda row: row.share, reverse=True)


def by_operator(profile: Sequence[NodeTime]) -> dict[str, float]:
    """Shares of the time by operator, the largest first."""
    shares: dict[str, float] = defaultdict(float)
    for row in profile:
        shares[row.op_type] += row.share
    return dict(sorted(shares.items(), key=lambda item: item[1], reverse=True))


def _is_kernel(event: Event) -> bool:
    return event.get("cat") == "Node" and event["name"].endswith(_SUFFIX)


def _key(event: Event) -> tuple[str, ...]:
    """What tells nodes apart: the index does where bodies use a name again."""
    known = event["args"]
    name = event["name"].removesuffix(_SUFFIX)
    return (
        name,
        known.get("op_name", ""),
        known.get("provider", ""),
        str(known.get("node_index", "")),
    )


def _own_times(kernels: Sequence[Event]) -> list[float]:
    """Microseconds of each kernel without those of the kernels inside of it.

    A body's nodes run within the time, and on the thread, of the node that holds it.
    """
    own = [float(event["dur"]) for event in kernels]
    order = sorted(
        range(len(kernels)), key=lambda i: (kernels[i]["tid"], kernels[i]["ts"], -kernels[i]["dur"])
    )
    around: list[int] = []
    for index in order:
        event = kernels[index]
        while around and not _holds(kernels[around[-1]], event):
            around.pop()
        if around:
            own[around[-1]] -= event["dur"]
        around.append(index)
    return [max(0.0, time) for time in own]


def _holds(outer: Event, inner: Event) -> bool:
    return bool(outer["tid"] == inner["tid"] and inner["ts"] < outer["ts"] + outer["dur"])

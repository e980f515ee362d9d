"""What the original answers: inputs it runs with, and its outputs on them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from graphopt.contract import Array, GraphView
from graphopt.errors import DataError, RuntimeFailure
from graphopt.model import Model
from graphopt.model.tensor import is_floating
from graphopt.runtime import IsolatedRuntime, Opened, Session
from graphopt.runtime.isolated import Backend
from graphopt.verify.inputs import (
    BATCHES,
    CEILINGS,
    Feeds,
    InputSpec,
    SizePlan,
    input_specs,
    make_feeds,
    size_plans,
)
from graphopt.verify.intermediates import unreached_outputs
from graphopt.verify.numeric import NOISE, Outputs, difference, resolution

INPUT_SETS = 3
_SEARCH_SECONDS = 60.0
_RUN_SECONDS = 60.0
_BACKENDS: tuple[Backend, ...] = ("onnxruntime", "reference")


@dataclass(frozen=True, slots=True)
class Baseline:
    """The original's answers.

    Attributes:
        random: Outputs that differ when the same input is run twice.
        constant: Outputs that no input reaches.
    """

    backend: Backend
    feeds: tuple[Feeds, ...]
    outputs: tuple[Outputs, ...]
    random: frozenset[str]
    constant: frozenset[str]


@dataclass(frozen=True, slots=True)
class Unusable:
    """The original gives no answers here, and why."""

    reason: str


def establish(
    model: Model,
    graph: GraphView,
    path: Path,
    runtime: IsolatedRuntime,
    *,
    seed: int,
    data: Sequence[Feeds] | None,
    shapes: Mapping[str, tuple[int, ...]],
) -> Baseline | Unusable:
    """Find inputs that the original runs with, and keep its outputs.

    ONNX Runtime comes first; what it cannot load or run goes to onnx.reference.

    Raises:
        DataError: The user's own data does not run.
    """
    if data is not None and not data:
        raise DataError("the data holds no input set", file=model.path)
    specs = input_specs(model.proto, graph)
    reasons = []
    for backend in _BACKENDS:
        try:
            opened = runtime.open(Session(path, backend=backend))
        except RuntimeFailure as error:
            reasons.append(f"does not load in {backend}: {first_line(error, path)}")
            continue
        try:
            found = _collect(opened, specs, seed, data, shapes, path)
            if isinstance(found, str):
                reasons.append(found)
                continue
            feeds, outputs = found
            random = _random_outputs(opened, feeds, outputs)
            return Baseline(backend, feeds, outputs, random, unreached_outputs(model.proto))
        except RuntimeFailure as error:
            if data is not None and error.kind == "run":
                # It loads, and refuses the data: another runtime's leniency proves nothing.
                raise _unfit(error, path, model) from error
            reasons.append(first_line(error, path))
            if error.kind == "timeout":
                break  # another runtime would not come to an end either
        finally:
            opened.close()
    if data is not None:
        return Unusable(f"the original does not run: {reasons[0]}")
    return Unusable(f"the original does not run on generated inputs: {reasons[0]}")


def perturbed(feeds: Feeds) -> Feeds:
    """The same inputs with floating-point values changed by NOISE."""
    return {
        name: _nudged(value)
        if isinstance(value, np.ndarray) and is_floating(value.dtype)
        else value
        for name, value in feeds.items()
    }


def _nudged(value: Array) -> Array:
    """A float array changed by NOISE, or by one step where the type is coarser."""
    factor = 1 + max(NOISE, resolution(value.dtype))
    return np.asarray((value.astype(np.float64) * factor).astype(value.dtype))


Collected = tuple[tuple[Feeds, ...], tuple[Outputs, ...]]


def _collect(
    opened: Opened,
    specs: list[InputSpec],
    seed: int,
    data: Sequence[Feeds] | None,
    shapes: Mapping[str, tuple[int, ...]],
    path: Path,
) -> Collected | str:
    if data is not None:
        return tuple(data), tuple(opened.run(feeds) for feeds in data)
    if not specs:
        return ({},), (opened.run({}),)
    feeds: list[Feeds] = []
    outputs: list[Outputs] = []
    reason = "no input of its kind can be generated"
    deadline = time.monotonic() + _SEARCH_SECONDS
    liked: SizePlan | None = None
    for variation in range(INPUT_SETS):
        for plan in attempts(specs, variation, liked):
            made = make_feeds(specs, plan, seed * INPUT_SETS + variation, shapes)
            if made is None or time.monotonic() > deadline:
                break
            try:
                result = opened.run(made, timeout=_RUN_SECONDS)
            except RuntimeFailure as error:
                if error.kind in ("crash", "timeout"):
                    raise
                reason = first_line(error, path)
                continue
            feeds.append(made)
            outputs.append(result)
            liked = plan
            break
    return (tuple(feeds), tuple(outputs)) if feeds else reason


def attempts(
    specs: Sequence[InputSpec], variation: int, liked: SizePlan | None = None
) -> list[SizePlan]:
    """What to try for one input set, in order."""
    plans = list(size_plans(variation))
    if liked is not None:
        # What worked for one set works for the next, if not with other sizes too.
        alike = [plan for plan in plans if plan.row == liked.row]
        plans = [replace(plan, ceiling=liked.ceiling) for plan in alike]
        plans += [replace(liked, batch=BATCHES[variation]), liked]
    elif any(spec.dtype is not None and spec.dtype.kind in "iu" for spec in specs):
        plans = [replace(plan, ceiling=ceiling) for ceiling in CEILINGS for plan in plans]
    picks = (variation, 0) if any(spec.choices for spec in specs) else (0,)
    return list(dict.fromkeys(replace(plan, pick=pick) for pick in picks for plan in plans))


def _random_outputs(
    opened: Opened, feeds: Sequence[Feeds], outputs: Sequence[Outputs]
) -> frozenset[str]:
    again = opened.run(feeds[0])
    found = ((name, difference(value, again.get(name))) for name, value in outputs[0].items())
    # A last bit that depends on thread timing is noise; a random op differs altogether.
    return frozenset(name for name, d in found if d.mismatch or d.max_rel > 1e-3)


def _unfit(error: RuntimeFailure, path: Path, model: Model) -> DataError:
    reason = first_line(error, path)
    return DataError(f"the model does not run on the data given: {reason}", file=model.path)


_PLACES = re.compile(r"\[ONNXRuntimeError\] : \d+ : |/\S+\.(?:cc|h):\d+ .*?\) (?=\S)")
"""Codes, source files and C++ signatures that stand before the reason in ONNX Runtime's errors."""


def first_line(error: RuntimeFailure, path: Path | str) -> str:
    """What the runtime said, without graphopt's temporary file and the runtime's own places."""
    text = error.message.splitlines()[0]
    if str(path):
        text = text.replace(str(path), "the model")
    return _PLACES.sub("", text)[:300]

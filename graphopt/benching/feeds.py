"""Inputs that models are timed on: the user's, or generated ones that the reference runs with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphopt.errors import DataError, RuntimeFailure, UsageError
from graphopt.graph import annotate, build_program, graph_view
from graphopt.model import Model
from graphopt.runtime import Opened
from graphopt.verify.baseline import attempts, first_line
from graphopt.verify.inputs import Feeds, InputSpec, SizePlan, input_specs, make_feeds

_BATCH = -1
"""No size: what it turns up as is the batch."""


def model_inputs(model: Model) -> list[InputSpec]:
    """What a model must be fed, with what its graph tells about the values."""
    program = build_program(model)
    annotate(program, model.proto)
    return input_specs(model.proto, graph_view(program.main, program))


def check_batch(model: Model, specs: Sequence[InputSpec], batch: int | None) -> None:
    """Check that a model takes batches of this size.

    Raises:
        UsageError: Its first dimensions are fixed, to another size.
    """
    ranked = [spec for spec in specs if spec.shape != ()]  # a scalar has no rows to be many of
    if batch is None or any(spec.shape is None for spec in specs):
        return
    if any(batch_axis(spec) is not None for spec in ranked):
        return
    sizes = sorted({spec.shape[0] for spec in ranked if spec.shape}, key=str)
    if sizes == [batch]:
        return
    if not sizes:
        raise UsageError(f"--batch {batch}: no input has rows", file=model.path)
    raise UsageError(
        f"--batch {batch}: the inputs have a fixed batch of {', '.join(map(str, sizes))}",
        file=model.path,
        hint="`graphopt convert --dynamic-batch` opens it",
    )


def batch_axis(spec: InputSpec) -> int | None:
    """The axis that an input's rows lie along, if the model leaves it open; else None.

    It is the axis that generated inputs take their batch size in.
    """
    plan = SizePlan(batch=_BATCH, image=(0, 0), other=0)
    for axis, dim in enumerate(spec.shape or ()):
        if not isinstance(dim, int) and plan.size(spec, axis, dim) == _BATCH:
            return axis
    return None


def check_stated_batch(
    shapes: Mapping[str, tuple[int, ...]], specs: Sequence[InputSpec], batch: int | None
) -> None:
    """Check that shapes which the user states do not contradict the batch.

    Raises:
        UsageError: One does.
    """
    for spec in specs:
        axis, shape = batch_axis(spec), shapes.get(spec.name)
        if batch is None or axis is None or shape is None or len(shape) <= axis:
            continue
        if shape[axis] != batch:
            stated = ",".join(map(str, shape))
            raise UsageError(
                f"--batch {batch} contradicts --input-shape {spec.name}:{stated}",
                hint="leave one of them out",
            )


def generated_feeds(
    model: Model,
    specs: Sequence[InputSpec],
    opened: Opened,
    *,
    batch: int | None,
    shapes: Mapping[str, tuple[int, ...]],
    seed: int,
) -> Feeds:
    """Make an input set that the model runs with.

    Args:
        model: The model, for its name in errors.
        specs: Its inputs.
        opened: It, loaded; it runs as often as it takes.
        batch: Size of open batch dimensions; 1 where None.
        shapes: Shapes that the user states.
        seed: The same seed gives the same values.

    Raises:
        DataError: It runs with none of those tried.
        RuntimeFailure: It crashes, or takes too long.
    """
    plans = [replace(plan, batch=batch or plan.batch) for plan in attempts(specs, 0)]
    reason = "no input of its kind can be generated"
    for plan in dict.fromkeys(plans):
        feeds = make_feeds(list(specs), plan, seed, shapes)
        if feeds is None:
            break
        try:
            opened.run(feeds)
        except RuntimeFailure as error:
            if error.kind in ("crash", "timeout"):
                raise
            reason = first_line(error, model.path or "model")
            continue
        return feeds
    raise DataError(
        f"does not run on generated inputs: {reason}",
        file=model.path,
        hint="give --data, or --input-shape",
    )


def batched(feeds: Feeds, specs: Sequence[InputSpec], batch: int | None) -> Feeds:
    """An input set with its rows repeated, or cut, to a batch; None leaves it as it is.

    Only inputs whose batch dimension the model leaves open have rows.
    """
    if batch is None:
        return feeds
    axes = {spec.name: batch_axis(spec) for spec in specs}
    return {name: _repeated(value, axes.get(name), batch) for name, value in feeds.items()}


def _repeated(value: Any, axis: int | None, batch: int) -> Any:
    if axis is None or not isinstance(value, np.ndarray):
        return value
    if value.ndim <= axis or not value.shape[axis]:  # running it says what is wrong
        return value
    return np.take(value, np.arange(batch) % value.shape[axis], axis=axis)


def batch_of(feeds: Mapping[str, Any]) -> int | None:
    """Rows of the inputs: the first dimension they share; None where they share none."""
    sizes = {value.shape[0] for value in feeds.values() if getattr(value, "ndim", 0) > 1}
    return sizes.pop() if len(sizes) == 1 else None

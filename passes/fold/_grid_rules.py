"""Forms of what index arithmetic makes: one small function an operator.

Source: the operators' ONNX definitions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.contract import NodeView, ValueView
from graphopt.passes.fold._facts import Dims, integers
from graphopt.passes.fold._forms import (
    coordinate,
    fits,
    is_never_negative,
    places,
    renamed,
    renaming,
)
from graphopt.passes.fold._grids import Grids, Parts, Rule
from graphopt.passes.fold._sizes import Size, size

Combine = Callable[[Size, Size, "Dims | None"], "Size | None"]

_MOST_PARTS = 8
_TRUE, _FALSE = size(1), size(0)


def _result(node: NodeView, grids: Grids) -> Dims | None:
    return grids.dims(node.outputs[0])


def _operand(value: ValueView | None, result: Dims | None, grids: Grids) -> Size | None:
    """An operand's form in the result's coordinates."""
    form = grids.form(value)
    return form if form is not None and fits(form, grids.dims(value), result) else None


def _range(node: NodeView, grids: Grids) -> Parts | None:
    start, step = grids.form(node.inputs[0]), grids.uniform(node.inputs[2])
    if start is None or step is None or places(start) or _result(node, grids) is None:
        return None
    return (coordinate(0) * step + start,)


def _pairwise(combine: Combine) -> Rule:
    def rule(node: NodeView, grids: Grids) -> Parts | None:
        if len(node.inputs) != 2 or node.attribute("broadcast", 0):
            return None
        result = _result(node, grids)
        first, second = (_operand(value, result, grids) for value in node.inputs)
        if first is None or second is None:
            return None
        found = combine(first, second, result)
        return None if found is None else (found,)

    return rule


def _is_at_least(first: Size, second: Size, dims: Dims | None) -> bool:
    return is_never_negative(first - second, dims)


def _known(*, true: bool, false: bool) -> Size | None:
    if true:
        return _TRUE
    return _FALSE if false else None


def _at_least(a: Size, b: Size, dims: Dims | None) -> Size | None:
    return _known(true=_is_at_least(a, b, dims), false=_is_at_least(b, a + 1, dims))


def _above(a: Size, b: Size, dims: Dims | None) -> Size | None:
    return _known(true=_is_at_least(a, b + 1, dims), false=_is_at_least(b, a, dims))


def _equal(a: Size, b: Size, dims: Dims | None) -> Size | None:
    apart = _is_at_least(a, b + 1, dims) or _is_at_least(b, a + 1, dims)
    return _known(true=a == b, false=apart)


def _largest(a: Size, b: Size, dims: Dims | None) -> Size | None:
    if _is_at_least(a, b, dims):
        return a
    return b if _is_at_least(b, a, dims) else None


def _smallest(a: Size, b: Size, dims: Dims | None) -> Size | None:
    if _is_at_least(a, b, dims):
        return b
    return a if _is_at_least(b, a, dims) else None


def _and(node: NodeView, grids: Grids) -> Parts | None:
    return _decided(node, grids, deciding=0)


def _or(node: NodeView, grids: Grids) -> Parts | None:
    return _decided(node, grids, deciding=1)


def _decided(node: NodeView, grids: Grids, *, deciding: int) -> Parts | None:
    """One operand alone may decide; else both must be known."""
    found = [grids.uniform(value) for value in node.inputs]
    if node.attribute("broadcast", 0) or len(found) != 2:
        return None
    if deciding in found:
        return (size(deciding),)
    return None if None in found else (size(1 - deciding),)


def _not(node: NodeView, grids: Grids) -> Parts | None:
    found = grids.uniform(node.inputs[0])
    return None if found is None else (size(1 - found),)


def _where(node: NodeView, grids: Grids) -> Parts | None:
    condition = grids.uniform(node.inputs[0])
    if condition is None:
        return None
    form = _operand(node.inputs[1 if condition else 2], _result(node, grids), grids)
    return None if form is None else (form,)


def _negated(node: NodeView, grids: Grids) -> Parts | None:
    form = grids.form(node.inputs[0])
    return None if form is None else (-form,)


def _absolute(node: NodeView, grids: Grids) -> Parts | None:
    form, dims = grids.form(node.inputs[0]), _result(node, grids)
    if form is None:
        return None
    if is_never_negative(form, dims):
        return (form,)
    return (-form,) if is_never_negative(-form, dims) else None


def _cast(node: NodeView, grids: Grids) -> Parts | None:
    form, output = grids.form(node.inputs[0]), node.outputs[0]
    if form is None or output is None or output.dtype != np.bool_:
        return None if form is None else (form,)
    return None if form.integer is None else (size(int(form.integer != 0)),)


def _renamed(node: NodeView, grids: Grids) -> Parts | None:
    """Reshape, Flatten, Squeeze, Unsqueeze and Identity where only axes of size 1 come and go."""
    form = grids.form(node.inputs[0])
    if form is None or not places(form):
        return None if form is None else (form,)
    before, after = grids.dims(node.inputs[0]), _result(node, grids)
    to = None if before is None or after is None else renaming(before, after)
    return None if to is None else (renamed(form, to),)


def _transposed(node: NodeView, grids: Grids) -> Parts | None:
    form, dims = grids.form(node.inputs[0]), grids.dims(node.inputs[0])
    if form is None or dims is None:
        return None
    last = len(dims) - 1
    perm = node.attribute("perm") or list(range(last, -1, -1))
    return (renamed(form, {last - axis: last - index for index, axis in enumerate(perm)}),)


def _expanded(node: NodeView, grids: Grids) -> Parts | None:
    form = _operand(node.inputs[0], _result(node, grids), grids)
    return None if form is None else (form,)


def _sliced(node: NodeView, grids: Grids) -> Parts | None:
    form, dims = grids.form(node.inputs[0]), _result(node, grids)
    if form is None or not places(form):
        return None if form is None else (form,)
    starts, steps = _numbers(node, 1, grids), _numbers(node, 4, grids)
    if dims is None or starts is None or any(starts):
        return None
    if len(node.inputs) > 4 and node.inputs[4] is not None and steps is None:
        return None
    return (form,) if all(step == 1 for step in steps or []) else None


def _numbers(node: NodeView, index: int, grids: Grids) -> list[int] | None:
    found = integers(grids.content(node.inputs[index])) if index < len(node.inputs) else None
    return None if found is None else [int(number) for number in found.ravel()]


def _picked(node: NodeView, grids: Grids) -> Parts | None:
    """Of equal entries any choice is the same one."""
    form = grids.form(node.inputs[0])
    return None if form is None or places(form) else (form,)


def _joined(node: NodeView, grids: Grids) -> Parts | None:
    """Index tuples: single columns beside each other on the last axis."""
    dims = _result(node, grids)
    shapes = [grids.dims(value) for value in node.inputs]
    if dims is None or len(node.inputs) > _MOST_PARTS or any(not shape for shape in shapes):
        return None
    if node.attribute("axis", 1) not in (-1, len(dims) - 1):
        return None
    if any(shape is not None and shape[-1].integer != 1 for shape in shapes):
        return None
    forms = [_operand(value, dims, grids) for value in node.inputs]
    found = tuple(form for form in forms if form is not None)
    return found if len(found) == len(forms) else None


def _filled(node: NodeView, grids: Grids) -> Parts | None:
    value = np.asarray(node.attribute("value", np.zeros(1, np.float32)))
    if value.dtype.kind not in "ib" or value.size != 1:
        return None
    return (size(int(value.ravel()[0])),)


RULES: dict[str, Rule] = {
    "Abs": _absolute,
    "Add": _pairwise(lambda a, b, _: a + b),
    "And": _and,
    "Cast": _cast,
    "Concat": _joined,
    "ConstantOfShape": _filled,
    "Equal": _pairwise(_equal),
    "Expand": _expanded,
    "Flatten": _renamed,
    "Gather": _picked,
    "GatherElements": _picked,
    "GatherND": _picked,
    "Greater": _pairwise(_above),
    "GreaterOrEqual": _pairwise(_at_least),
    "Identity": _renamed,
    "Less": _pairwise(lambda a, b, dims: _above(b, a, dims)),
    "LessOrEqual": _pairwise(lambda a, b, dims: _at_least(b, a, dims)),
    "Max": _pairwise(_largest),
    "Min": _pairwise(_smallest),
    "Mul": _pairwise(lambda a, b, _: a * b),
    "Neg": _negated,
    "Not": _not,
    "Or": _or,
    "Range": _range,
    "Reshape": _renamed,
    "Slice": _sliced,
    "Squeeze": _renamed,
    "Sub": _pairwise(lambda a, b, _: a - b),
    "Tile": _picked,
    "Transpose": _transposed,
    "Unsqueeze": _renamed,
    "Where": _where,
}

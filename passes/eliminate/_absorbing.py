"""Which nodes can read a smaller tensor that broadcasting makes large again.

From one value, by its readers: those whose own result keeps its shape are ends; those whose result
becomes smaller are made anew, and their readers looked at in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from graphopt.contract import Editor, NodeView, ValueView
from graphopt.passes.fold._dims import broadcast
from graphopt.passes.fold._facts import Dims
from graphopt.passes.fold._grids import Grids

_BROADCASTING = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
     "Mean", "Min", "Mod", "Mul", "Or", "Sub", "Sum", "Where", "Xor"}
)  # fmt: skip
"""Operators that work element by element on operands that are broadcast to a common shape."""
_ONE_INPUT = frozenset({"Abs", "Cast", "Ceil", "Floor", "Neg", "Not", "Relu", "Round", "Sign"})
"""Operators that work on each element by itself, with one possible result."""
# Not among them: Pow, which runtimes compute otherwise for a single exponent, and Exp, Tanh and
# their kind, whose last bit may depend on an element's place in a vector register.
_SIGNED_ZEROS = frozenset({"Max", "Min"})
"""Which zero of floats they give back may depend on which operand is broadcast."""
ABSORBING = _BROADCASTING | _ONE_INPUT | {"Expand"}
"""Operators that may read something smaller."""

_MOST_NODES = 64
_FROM_OPSET = 8
"""Max, Mean, Min and Sum broadcast from here on."""


@dataclass(slots=True)
class Absorbing:
    """What becomes of the readers.

    Attributes:
        smaller: Values whose shape changes, with their new dimensions; the first is the given one.
        ends: Nodes whose result stays as it is.
    """

    smaller: dict[ValueView, Dims] = field(default_factory=dict)
    ends: dict[NodeView, None] = field(default_factory=dict)


def absorbing(value: ValueView, dims: Dims, grids: Grids) -> Absorbing | None:
    """Look at all that depends on a value's shape; None where some of it shows.

    Args:
        value: A value that is to be read no more.
        dims: Dimensions of what is read in its place.
        grids: What is known of all values.
    """
    found = Absorbing({value: dims})
    if value.graph.opset() < _FROM_OPSET:
        return None
    pending = [value]
    while pending:
        changed = pending.pop()
        if changed.is_graph_output or not changed.readers:
            return None
        for node in dict.fromkeys(use.node for use in changed.readers):
            before, after = _dims_of(node, found, grids)
            if before is None or after is None or node.graph is not value.graph:
                return None
            result = node.outputs[0]
            assert result is not None
            if before == after:
                found.ends[node] = None
            elif node.op_type == "Expand" or len(found.smaller) >= _MOST_NODES:
                return None
            elif found.smaller.get(result) != after:
                found.smaller[result] = after
                found.ends.pop(node, None)
                pending.append(result)
    return found


def _dims_of(node: NodeView, found: Absorbing, grids: Grids) -> tuple[Dims | None, Dims | None]:
    """The dimensions of a reader's result, now and with the smaller operands."""
    if node.is_opaque or len(node.outputs) != 1 or node.outputs[0] is None:
        return None, None
    result = node.outputs[0]
    if node.op_type in _SIGNED_ZEROS and (result.dtype is None or result.dtype.kind not in "iu"):
        return None, None
    before = grids.dims(result)
    operands = [
        found.smaller[v] if v is not None and v in found.smaller else grids.dims(v)
        for v in node.inputs
    ]
    if node.op_type in _BROADCASTING:
        return before, broadcast(operands)
    if node.op_type in _ONE_INPUT and len(operands) == 1:
        return before, operands[0]
    if node.op_type == "Expand" and node.inputs[1] not in found.smaller:
        target = grids.content(node.inputs[1])
        dims = None if target is None else tuple(target.ravel())
        return before, None if dims is None else broadcast([operands[0], dims])
    return None, None


def redirect(found: Absorbing, core: ValueView, edit: Editor) -> None:
    """Let all of them read the smaller value."""
    value, *results = found.smaller
    read = {value: core}
    waiting = [result.producer for result in results if result.producer is not None]
    made: list[NodeView] = []
    while waiting:
        maker = next(node for node in waiting if _is_ready(node, found, read))
        waiting.remove(maker)
        made.append(maker)
        inputs = [None if v is None else read.get(v, v) for v in maker.inputs]
        new = edit.insert(maker.op_type, inputs, before=maker, attributes=maker.attributes)
        (old,), (result,) = maker.outputs, new.outputs
        assert old is not None
        assert result is not None
        read[old] = result
    for node in found.ends:
        for index, operand in enumerate(node.inputs):
            if operand in read and operand is not None:
                edit.set_input(node, index, read[operand])
    for maker in reversed(made):
        edit.remove(maker)


def _is_ready(node: NodeView, found: Absorbing, read: dict[ValueView, ValueView]) -> bool:
    return all(v is None or v in read or v not in found.smaller for v in node.inputs)

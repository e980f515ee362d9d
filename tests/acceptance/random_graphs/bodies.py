"""Nodes with bodies, local functions, and repetition: what is written twice may become one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import FunctionProto, GraphProto, TensorProto, helper

from tests.acceptance.random_graphs import decompositions, elementwise, layers, moving, sizes
from tests.acceptance.random_graphs.elementwise import BOOL, F32, I64, Step
from tests.acceptance.random_graphs.writer import Scope, Value, Writer, graph, info

DOMAIN = "local"
DEEPEST = 2


def inner_steps() -> dict[Step, int]:
    return {
        **elementwise.STEPS, **moving.STEPS, **sizes.STEPS, **layers.STEPS, **decompositions.STEPS
    }  # fmt: skip


def body(w: Writer, known: list[Value], like: Value | None = None) -> tuple[Scope, Value | None]:
    """Some nodes in a scope of their own; its result has the type of `like` where that is given."""
    outer = w.scope
    w.scope = Scope([*outer.values, *known], depth=outer.depth + 1)
    try:
        steps = inner_steps()
        for _ in range(w.random.randint(1, 4)):
            w.random.choices(list(steps), list(steps.values()))[0](w)
        scope = w.scope
        if like is None:
            made = [v for v in scope.made if v.dtype == F32 and v.bound <= 256]
        else:
            made = [v for v in scope.made if v.dtype == like.dtype and v.shapes == like.shapes]
        source = w.random.choice(made) if made else like
        return scope, None if source is None else w.node("Identity", [source], source)
    finally:
        w.scope = outer


def if_node(w: Writer) -> Value | None:
    if w.scope.depth >= DEEPEST:
        return None
    condition = w.value(lambda v: v.dtype == BOOL and v.shapes == ((), ()))
    if condition is None or w.chance(0.2):
        condition = w.constant(np.array(w.chance(0.5)))
    state = w.random.getstate()
    first, result = body(w, [])
    if result is None:
        return None
    if w.chance(0.2):  # both branches the same, but for the names
        w.random.setstate(state)
        again, twin = body(w, [])
        if twin is not None and twin.shapes == result.shapes:
            branches = (graph("then", first, [], [result]), graph("else", again, [], [twin]))
            return w.node(
                "If", [condition], result, then_branch=branches[0], else_branch=branches[1]
            )
    # The other branch wants the same type: it starts from a value that has it.
    start = w.value(lambda v: v.dtype == result.dtype and v.shapes == result.shapes)
    if start is None:
        return None
    second, other = body(w, [], start)
    assert other is not None
    then, orelse = graph("then", first, [], [result]), graph("else", second, [], [other])
    if w.chance(0.5):
        then, orelse = orelse, then
    like = replace(
        result,
        exact=result.exact and other.exact,
        bound=max(result.bound, other.bound),
        numbers=None,
    )
    return w.node("If", [condition], like, then_branch=then, else_branch=orelse)


def loop_node(w: Writer) -> Value | None:
    """Two or three turns over one carried value."""
    if w.scope.depth >= DEEPEST:
        return None
    start = w.value(lambda v: v.dtype == F32 and not v.stored and v.bound <= 4)
    if start is None:
        return None
    state = Value(w.fresh(), F32, start.shapes, start.exact, 4.0)
    turn = Value(w.fresh(), I64, ((), ()), True, 3.0)
    going = Value(w.fresh(), BOOL, ((), ()), True, 1.0)
    scope, result = body(w, [turn, state], state)
    assert result is not None
    outer, w.scope = w.scope, scope
    # What is carried stays small however often it goes round.
    low, high = (w.constant(np.array(k, np.float32)) for k in (-4.0, 4.0))
    held = w.node("Clip", [result, low, high], replace(result, bound=4.0))
    onward = w.node("Identity", [going], going)
    w.scope = outer
    graph_ = graph("turns", scope, [info(turn), info(going), info(state)], [onward, held])
    count = w.constant(np.array(w.random.choice((1, 2, 3)), np.int64))
    like = replace(start, exact=False, bound=4.0)
    return w.node("Loop", [count, "", start], like, body=graph_)


def function_call(w: Writer) -> Value | None:
    x = w.value(lambda v: v.dtype == F32 and not v.stored and v.bound <= 16)
    if x is None:
        return None
    like = replace(x, exact=False, bound=x.bound * 4 + 4)
    return w.node("piece", [x], like, domain=DOMAIN)


def function(opset: int) -> FunctionProto:
    """`piece`: what a pass can fold and fuse, in a function."""
    k = helper.make_tensor("k", TensorProto.FLOAT, [], [0.5])
    nodes = [
        helper.make_node("Constant", [], ["k"], value=k),
        helper.make_node("Add", ["k", "k"], ["one"]),
        helper.make_node("Mul", ["a", "one"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Identity", ["d"], ["e"]),
        helper.make_node("Add", ["e", "k"], ["r"]),
    ]
    return helper.make_function(
        DOMAIN, "piece", ["a"], ["r"], nodes, [helper.make_opsetid("", opset)]
    )


def repetition(w: Writer) -> Value | None:
    """A node written again as it is, or its inverse behind it."""
    nodes = [
        n
        for n in w.scope.nodes
        if len(n.output) == 1 and n.op_type not in ("If", "Loop", "Constant")
    ]
    if not nodes:
        return None
    node = w.random.choice(nodes[-4:])
    known = {v.name: v for v in w.scope.values}
    result = known.get(node.output[0])
    if result is None:
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if any(isinstance(value, GraphProto) for value in attributes.values()):
        return None
    return w.node(node.op_type, list(node.input), result, domain=node.domain, **attributes)


def inverse(w: Writer) -> Value | None:
    x = moving.moved(w, 2)
    if x is None:
        return None
    if w.chance(0.5):
        order = list(range(x.rank))
        w.random.shuffle(order)
        back = [order.index(i) for i in range(x.rank)]
        there = moving.shaped(x, moving.each(x, lambda s: [s[i] for i in order]))
        turned = w.node("Transpose", [x], there, perm=order)
        if w.chance(0.7) and turned.dtype == F32:
            turned = w.node(w.random.choice(elementwise.KEEPING), [turned], turned)
        return w.node("Transpose", [turned], moving.shaped(turned, x.shapes), perm=back)
    axis = w.random.randint(0, x.rank)
    wide = moving.each(x, lambda s: [*s[:axis], 1, *s[axis:]])
    y = moving.axes_form(w, "Unsqueeze", x, [axis], wide)
    return moving.axes_form(w, "Squeeze", y, [axis], x.shapes)


STEPS: dict[Step, int] = {if_node: 2, loop_node: 1, function_call: 2, repetition: 4, inverse: 3}
"""How to write a node, and how often."""

"""A whole random model, with its inputs in both worlds."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from tests.acceptance.random_graphs import (
    bodies,
    decompositions,
    elementwise,
    idioms,
    layers,
    moving,
    sizes,
)
from tests.acceptance.random_graphs.elementwise import BOOL, F32, I64
from tests.acceptance.random_graphs.writer import Pair, Scope, Value, Writer, info

OPSETS = (11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23)
WORLDS = ({"N": 1, "S": 4}, {"N": 3, "S": 5})
"""Sizes of the open dimensions."""
INPUTS: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("image", ("N", 3, 4, 4)),
    ("tokens", ("N", "S", 4)),
    ("rows", ("N", 6)),
    ("fixed", (2, 3, 4)),
)
EXTRA: tuple[tuple[str, np.dtype[Any], tuple[str | int, ...]], ...] = (
    ("ids", I64, ("N", "S")),
    ("flag", BOOL, ()),
    ("mask", BOOL, ("N", 1)),
)

GROUPS = (
    elementwise.STEPS, {**moving.STEPS, **sizes.STEPS}, {**layers.STEPS, **decompositions.STEPS},
    bodies.STEPS, idioms.STEPS,
)  # fmt: skip
LEANINGS = (
    (3, 3, 3, 1, 3), (6, 2, 2, 1, 1), (2, 6, 1, 1, 1), (1, 1, 6, 1, 2), (1, 1, 1, 0, 6),
)  # fmt: skip
"""How often each group has its turn, one of these a model."""

Feeds = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """A model and what to run it on.

    Attributes:
        feeds: Inputs in each world.
        ops: Operators in it.
    """

    model: ModelProto
    feeds: tuple[Feeds, Feeds]
    ops: frozenset[str]


def draw_model(random: Random, most_nodes: int = 18) -> Drawn:
    """Write a model; the same `random` writes the same one."""
    opset = random.choice(OPSETS)
    chosen = random.sample(INPUTS, random.choice((1, 1, 2)))
    inputs = [(name, F32, dims) for name, dims in chosen]
    inputs += random.sample(EXTRA, random.choice((0, 1, 1, 2)))
    values = [_input(name, dtype, dims) for name, dtype, dims in inputs]
    w = Writer(random, opset, Scope(list(values)), random.choice((0.3, 0.6, 0.8, 0.95)))
    wanted = random.randint(3, most_nodes)
    leaning = random.choice(LEANINGS)
    while len(w.scope.made) < wanted:
        steps = random.choices(GROUPS, leaning)[0]
        random.choices(list(steps), list(steps.values()))[0](w)
    return _finished(w, inputs, values)


def _input(name: str, dtype: np.dtype[Any], dims: tuple[str | int, ...]) -> Value:
    first, second = (tuple(world[d] if isinstance(d, str) else d for d in dims) for world in WORLDS)
    pair: Pair = (first, second)
    return Value(name, dtype, pair, True, 1.0 if dtype == BOOL else 2.0)


def _finished(
    w: Writer, inputs: list[tuple[str, np.dtype[Any], tuple[str | int, ...]]], values: list[Value]
) -> Drawn:
    read = {name for node in w.scope.nodes for name in node.input}
    leaves = [v for v in w.scope.made if v.name not in read]
    # One left out now and then is dead work; one that is read as well has two kinds of readers.
    outputs = [v for v in leaves if w.chance(0.9)] or [w.scope.made[-1]]
    outputs += [v for v in w.scope.made if v not in outputs and w.chance(0.1)]
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), list(dims))
        for name, dtype, dims in inputs
    ]
    given += [info(value) for value, _ in w.overridable]
    graph = helper.make_graph(
        w.scope.nodes, "random", given, [info(v, declare=w.chance(0.7)) for v in outputs],
        w.scope.initializers,
        value_info=[info(v) for v in w.scope.made if v not in outputs and w.chance(0.2)],
    )  # fmt: skip
    imports = [helper.make_opsetid("", w.opset)]
    functions = []
    if "piece" in w.ops:
        imports.append(helper.make_opsetid(bodies.DOMAIN, 1))
        functions.append(bodies.function(w.opset))
    version = 8 if w.opset < 21 else 10
    model = helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=version)
    return Drawn(model, (_feeds(w, values, 0), _feeds(w, values, 1)), frozenset(w.ops))


def _feeds(w: Writer, values: list[Value], world: int) -> Feeds:
    rng = np.random.default_rng(w.random.randrange(1 << 30))
    feeds: Feeds = {}
    for value in values:
        shape = value.shapes[world]
        if value.dtype == BOOL:
            feeds[value.name] = rng.integers(0, 2, shape) == 1 if shape else np.array(world == 0)
        elif value.dtype == I64:
            feeds[value.name] = rng.integers(-2, 3, shape)
        else:
            feeds[value.name] = (rng.integers(-8, 9, shape) / 4).astype(np.float32)
    if world:
        for value, default in w.overridable:
            feeds[value.name] = np.asarray(default * 0.5 + 0.25, np.float32)
    return feeds

"""fuse_scale_linear on random graphs: whatever it rewrites, the numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt.passes.fuse.fuse_scale_linear import FuseScaleLinear
from tests.build import few
from tests.passes.support import agree, random_feeds, run

ALL = FuseScaleLinear(keep_recognised=False)
Shape = tuple[int, ...]


class Graph:
    """Nodes on values of known shapes, chosen by drawn numbers."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.draw = draw
        self.values: list[tuple[str, Shape]] = [("x", (2, 4, 6))]
        self.nodes: list[Any] = []
        self.constants: list[TensorProto] = []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def number(self, *shape: int) -> str:
        rng = np.random.default_rng(len(self.constants))
        made = rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)
        return self.constant(made.astype(np.float32))

    def put(self, op: str, inputs: list[str], *shapes: Shape, **attributes: Any) -> None:
        names = [f"v{len(self.values) + i}" for i in range(len(shapes))]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        self.values += zip(names, shapes, strict=True)

    def pick(self) -> tuple[str, Shape]:
        """One of the latest values."""
        return self.values[-1 - self.draw(min(3, len(self.values)))]

    def grow(self) -> None:
        name, shape = self.pick()
        kind = self.draw(14)
        if kind == 0:
            self.put("MatMul", [name, self.number(shape[-1], 6)], (*shape[:-1], 6))
        elif kind == 1:
            self.put("Add", [self.number(shape[-1]), name], shape)
        elif kind in (2, 3, 4):
            sizes = [(), (shape[-1],), (shape[-2], 1), (1, *shape[1:])]
            c = self.number(*sizes[self.draw(len(sizes))])
            self.put(("Mul", "Div")[self.draw(2)], [name, c], shape)
        elif kind == 5:
            self.put(("Relu", "Neg", "Sigmoid", "Identity")[self.draw(4)], [name], shape)
        elif kind == 6:
            perm = [int(p) for p in np.random.default_rng(self.draw(9)).permutation(len(shape))]
            self.put("Transpose", [name], tuple(shape[p] for p in perm), perm=perm)
        elif kind == 7 and shape[-1] % 2 == 0:
            half = (*shape[:-1], shape[-1] // 2)
            self.put("Split", [name], half, half, axis=-1, num_outputs=2)
        elif kind == 8 and len(shape) == 3:
            cut = (
                (shape[0], shape[1] * shape[2]) if self.draw(2) else (shape[0] * shape[1], shape[2])
            )
            self.put("Reshape", [name, self.constant(np.array(cut))], cut)
        elif kind == 9 and len(shape) == 2 and shape[-1] % 2 == 0:
            made = (shape[0], 2, shape[1] // 2)
            self.put("Reshape", [name, self.constant(np.array(made))], made)
        elif kind == 10:
            index = self.constant(np.array(self.draw(shape[0])))
            if len(shape) == 3:
                self.put("Gather", [name, index], shape[1:], axis=0)
        else:
            self.join(name, shape, kind)

    def join(self, name: str, shape: Shape, kind: int) -> None:
        same = [other for other, known in self.values[-6:] if known == shape]
        other = same[self.draw(len(same))] if same else name
        if kind == 11:
            self.put("Concat", [name, other], (*shape[:-1], 2 * shape[-1]), axis=-1)
        elif kind == 12:
            self.put(("Add", "Sub", "Mul")[self.draw(3)], [other, name], shape)
        elif kind == 13 and len(shape) == 2:
            self.put(
                "Gemm", [name, self.number(5, shape[1]), self.number(5)], (shape[0], 5), transB=1
            )

    def model(self) -> ModelProto:
        read = {value for node in self.nodes for value in node.input}
        shown = [value for value in self.values[1:] if value[0] not in read]
        outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shown]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 4, 6))
        graph = helper.make_graph(self.nodes, "g", [x], outputs, self.constants)
        imports = [helper.make_opsetid("", 18)]
        return helper.make_model(graph, ir_version=8, opset_imports=imports)


@few
@given(st.lists(st.integers(0, 10_000), min_size=20, max_size=60))
def test_the_numbers_stay(numbers: list[int]) -> None:
    drawn = iter(numbers * 5)
    graph = Graph(lambda count: next(drawn) % count)
    for _ in range(len(numbers) // 2):
        graph.grow()
    if not graph.nodes:
        return
    model = graph.model()
    outcome = run(model, ALL)
    assert outcome.left_out == []
    assert len(outcome.after.graph.node) == len(model.graph.node) - outcome.rewrites
    agree(model, outcome.after, [random_feeds(model)])

"""What the tests of passes share: one pass alone, graphs as short text, numbers of their own.

`run` is no part of what is tested: it drives a pass without graphopt's verifier, so that a wrong
rewrite shows here and is not rolled back. `agree` compares numbers with ONNX Runtime (its own
optimisations off) or onnx.reference, in this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from graphopt.contract import AnyPass, Context, Effect, Evaluator, NodeView, Skip
from graphopt.engine import PassSpec, Stage, make_pass
from graphopt.engine.pipeline import StageRunner
from graphopt.graph import annotate, build_program, export_program
from graphopt.model import Model, load_model
from graphopt.runtime import NodeEvaluator, shared_runtime

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Scope = GraphProto | FunctionProto

TOLERANCE: dict[Any, float] = {
    np.dtype(np.float16): 4e-3,
    np.dtype(np.float32): 2e-5,
    np.dtype(np.float64): 1e-12,
}
"""Difference that rounding explains, relative to the tensor's largest value."""


@dataclass(frozen=True)
class Outcome:
    """A model before and after, and what the pass did."""

    before: ModelProto
    model: Model
    rewrites: int
    skipped: dict[str, int]
    left_out: list[str]
    unchanged: bool

    @property
    def after(self) -> ModelProto:
        """The result."""
        return self.model.proto

    @property
    def lines(self) -> list[str]:
        """The result's main graph as text."""
        return lines(self.after.graph)

    @property
    def weights(self) -> dict[str, Array]:
        """The result's initializers, those of the main graph."""
        return weights(self.after.graph)


def run(
    model: ModelProto | Model, instance: AnyPass | str, *, evaluator: Evaluator | None = None
) -> Outcome:
    """Run one pass to its fixed point, without verification."""
    source = model if isinstance(model, Model) else load_model(model)
    program = build_program(source)
    annotate(program, source.proto)
    context = Context(evaluate_node=evaluator or NodeEvaluator(shared_runtime()))
    made = make_pass(instance, {}) if isinstance(instance, str) else instance
    runner = StageRunner(program, source, context, Effect.LOSSY, None, lambda what: None)
    report = runner.run(Stage((PassSpec.of(made),)))
    assert report.fixed_point
    result = export_program(program)
    (done,) = report.passes
    return Outcome(
        source.proto, result, done.rewrites, done.skipped,
        [item.reason for item in report.left_out], result is source,
    )  # fmt: skip


class Recorder:
    """An evaluator that says which nodes it was asked for; refuses, or passes them on."""

    def __init__(self, inner: Evaluator | None = None) -> None:
        self.asked: list[str] = []
        self.inner = inner

    def __call__(self, node: NodeView, inputs: Sequence[Array | None]) -> Sequence[Array] | Skip:
        """See contract.Evaluator."""
        self.asked.append(node.op_type)
        return Skip("not in this test") if self.inner is None else self.inner(node, inputs)


def lines(scope: Scope) -> list[str]:
    """Nodes as `outputs = Op(inputs)`, one a line; the nodes of bodies follow, indented."""
    found = []
    for node in scope.node:
        found.append(line(node))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += [f"  {attribute.name}: {inner}" for inner in lines(attribute.g)]
    return found


def line(node: NodeProto) -> str:
    """One node as text."""
    op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"{', '.join(node.output)} = {op}({', '.join(node.input)})"


def weights(graph: GraphProto) -> dict[str, Array]:
    """Initializers by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def constants(scope: Scope) -> dict[str, Array]:
    """What the Constant nodes of a graph hold, by output."""
    return {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in scope.node
        if node.op_type == "Constant" and node.attribute[0].HasField("t")
    }


def bodies(graph: GraphProto) -> dict[str, GraphProto]:
    """Bodies of a graph's own nodes, by `output.attribute`."""
    return {
        f"{node.output[0]}.{attribute.name}": attribute.g
        for node in graph.node
        for attribute in node.attribute
        if attribute.HasField("g")
    }


def random_feeds(model: ModelProto, seed: int = 0, sizes: Mapping[str, int] | None = None) -> Feeds:
    """Random values for every input without a default; symbolic sizes are 2 unless stated.

    Booleans are all true for an even seed, all false for an odd one: every branch gets its turn.
    """
    rng = np.random.default_rng(seed)
    given = {tensor.name for tensor in model.graph.initializer}
    feeds: Feeds = {}
    for info in model.graph.input:
        if info.name in given:
            continue
        tensor = info.type.tensor_type
        shape = [d.dim_value or (sizes or {}).get(d.dim_param, 2) for d in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feeds[info.name] = _random(rng, dtype, shape, flag=seed % 2 == 0)
    return feeds


def _random(
    rng: np.random.Generator, dtype: np.dtype[Any], shape: Sequence[int], *, flag: bool
) -> Array:
    if dtype.kind == "b":
        return np.full(shape, flag)
    if dtype.kind in "iu":
        return rng.integers(0, 4, shape).astype(dtype)
    if dtype.kind == "O":
        return np.asarray(rng.integers(0, 9, shape).astype(str), dtype=object)
    return np.asarray(rng.standard_normal(shape)).astype(dtype)


def answers(model: ModelProto, feeds: Mapping[str, Array], *, reference: bool) -> list[Array]:
    """A model's outputs, with nothing optimised on the way."""
    if reference:
        return list(ReferenceEvaluator(model).run(None, dict(feeds)))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feeds)))


def agree(
    before: ModelProto,
    after: ModelProto,
    feeds: Iterable[Feeds] | None = None,
    *,
    exact: bool = False,
    reference: bool = False,
) -> None:
    """Assert that two models give the same answers, bit by bit or but for rounding."""
    onnx.checker.check_model(after, full_check=True)
    for feed in feeds if feeds is not None else [random_feeds(before, s) for s in range(3)]:
        expected = answers(before, feed, reference=reference)
        found = answers(after, feed, reference=reference)
        for info, a, b in zip(before.graph.output, expected, found, strict=True):
            close(a, b, info.name, exact=exact)


def close(expected: Array, found: Array, what: str = "", *, exact: bool = False) -> None:
    """Assert that two arrays are equal, bit by bit or but for rounding."""
    a, b = np.asarray(expected), np.asarray(found)
    assert (a.dtype, a.shape) == (b.dtype, b.shape), what
    tolerance = TOLERANCE.get(a.dtype, 0.0)
    if exact or not tolerance:
        assert a.tobytes() == b.tobytes() or (a.dtype.kind == "O" and (a == b).all()), what
        return
    wide, other = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(wide)
    assert np.array_equal(wide[~finite], other[~finite], equal_nan=True), what
    bound = tolerance * np.abs(wide[finite]).max(initial=0.0) + float(np.finfo(a.dtype).tiny)
    assert (np.abs(wide[finite] - other[finite]) <= bound).all(), what

"""Seconds that the engine takes, verification left out: one large export, one long chain."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

import graphopt
from tests.benchmarks.simplify.entries import entries

EXPORT = "swin_small.torchscript"
EXPORT_LIMIT = 1.0
CHAIN_NODES = 50_000
CHAIN_LIMIT = 60.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took."""

    name: str
    before: int
    after: int
    seconds: float
    cpu: float
    limit: float

    @property
    def line(self) -> str:
        """The figures in one line."""
        met = "met" if self.seconds <= self.limit else "NOT MET"
        nodes = f"{self.before} to {self.after} nodes"
        took = f"{self.seconds:.2f} s (processor {self.cpu:.2f})"
        return f"engine, {self.name} ({nodes}) < {self.limit:g} s: {took}  {met}"


def chain(nodes: int) -> ModelProto:
    """Add, Relu, Mul, Add, Relu, Mul ... with constants of their own: nothing in it folds away."""
    rng = np.random.default_rng(0)
    written, weights, last = [], [], "x"
    for index in range(nodes):
        op = ("Add", "Relu", "Mul")[index % 3]
        inputs = [last]
        if op != "Relu":
            array = rng.uniform(0.5, 1.5, 4).astype(np.float32)
            weights.append(numpy_helper.from_array(array, f"k{index}"))
            inputs.append(f"k{index}")
        last = f"t{index}"
        written.append(helper.make_node(op, inputs, [last], name=f"n{index}"))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in ("x", last)]
    graph = helper.make_graph(written, "chain", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def engine_times(chain_nodes: int = CHAIN_NODES) -> list[Taken]:
    """Optimise both; nothing is written."""
    found = []
    paths = [item.path for item in entries() if item.name == EXPORT]
    if paths:
        graphopt.optimize(paths[0], verify=False)  # what is loaded once is not the engine's
        found.append(_timed(EXPORT, graphopt.load(paths[0]), EXPORT_LIMIT))
    if chain_nodes:
        name = f"a chain of {chain_nodes:,}"
        found.append(_timed(name, graphopt.load(chain(chain_nodes)), CHAIN_LIMIT))
    return found


def _timed(name: str, model: graphopt.Model, limit: float) -> Taken:
    started, worked = time.perf_counter(), time.process_time()
    report = graphopt.optimize(model, verify=False).report
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    return Taken(name, report.before.nodes, report.after.nodes, seconds, cpu, limit)

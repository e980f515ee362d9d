"""Tensors inside both models, for outputs that say nothing: constant, saturated, or mere noise.

Such an output is settled when every node that the candidate changed has, somewhere below it, a
tensor that both models name, that varies over the inputs, and that agrees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from onnx import ModelProto, ValueInfoProto

from graphopt.contract import RANDOM_OPERATORS
from graphopt.graph.shapes import bind_inputs
from graphopt.model import Model
from graphopt.model.nodes import STANDARD_DOMAINS, free_reads
from graphopt.model.tensor import is_floating
from graphopt.verify.signatures import signatures

PER_ROUND = 8
ROUNDS = 4

Agree = Callable[[list[str]], set[str]]


@dataclass(slots=True)
class Inside:
    """What changed between two models, and which of their common tensors lie below it.

    Attributes:
        above: For each value of the candidate, a bit set of the changed nodes that it depends on.
        survivors: Floating-point values that both main graphs compute, in the candidate's order.
    """

    above: dict[str, int] = field(default_factory=dict)
    survivors: list[str] = field(default_factory=list)

    def settles(self, output: str, agree: Agree) -> int | None:
        """Try to settle an output by tensors inside.

        Args:
            output: The output's name.
            agree: Runs both models; gives those of the named tensors that vary and agree.

        Returns:
            How many tensors agreed, or None when some changed node is not covered.
        """
        open_bits = self.above.get(output, 0)
        agreed = 0
        tried: set[str] = set()
        for _ in range(ROUNDS):
            if not open_bits:
                return agreed
            names = [n for n in self.survivors if n not in tried and self.above[n] & open_bits]
            if not names:
                return None
            step = max(1, len(names) // PER_ROUND)
            chosen = names[::-1][::step][:PER_ROUND]
            tried.update(chosen)
            for name in agree(chosen):
                open_bits &= ~self.above[name]
                agreed += 1
        return None if open_bits else agreed


def look_inside(before: Model, after: Model) -> Inside:
    """Find what changed and what survived, in the main graphs; a body belongs to its node.

    Rewrites keep the meaning of every name that survives them.
    """
    known = signatures(before)
    floats = {
        name
        for name, known_type in bind_inputs(before.proto, {}).items()
        if known_type.dtype is not None and is_floating(known_type.dtype)
    }
    outputs = {info.name for info in before.proto.graph.output}
    computed = {name for names in known for name in names}
    found = Inside()
    bit = 1
    for names, signature in signatures(after).items():
        above = 0
        for name in signature.reads:
            above |= found.above.get(name, 0)
        if known.get(names) != signature:
            above |= bit
            bit <<= 1
        for name in names:
            found.above[name] = above
            if name in computed and name in floats and name not in outputs:
                found.survivors.append(name)
    return found


def unreached_outputs(model: ModelProto) -> frozenset[str]:
    """Outputs that depend on no input that is fed, and on nothing random."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    reached = {info.name for info in model.graph.input if info.name not in defaults}
    for node in model.graph.node:
        opaque = node.domain not in STANDARD_DOMAINS or node.op_type in RANDOM_OPERATORS
        if opaque or not reached.isdisjoint(free_reads(node)):
            reached.update(node.output)
    return frozenset(info.name for info in model.graph.output if info.name not in reached)


def with_outputs(model: Model, names: list[str]) -> Model:
    """A copy whose main graph also gives back the named values."""
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    proto.graph.output.extend(ValueInfoProto(name=name) for name in names)
    return model.with_proto(proto)

"""Random models of nested graphs: whatever a pass does to them, their answers stay."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto

import graphopt
from graphopt.contract import Effect
from graphopt.engine import available, make_pass
from tests.build import parse
from tests.passes.support import agree, run

HEAD = '<ir_version: 10, opset_import: ["" : 18, "local" : 1]>'
FUNCTION = """<domain: "local", opset_import: ["" : 18]> piece (a, b) => (r) {
    k = Constant <value = float[3] {1.0, 2.0, 3.0}> ()
    n = Neg(k)
    i = Identity(a)
    d = Exp(b)
    m = Mul(i, n)
    l = Constant <value = float[3] {1.0, 2.0, 3.0}> ()
    s = Add(m, l)
    r = Identity(s)
}"""
NUMBERS = ("{1.0, 2.0, 3.0}", "{1.0, 2.0, 3.0}", "{0.0, -1.0, 0.5}", "{-0.0, -1.0, 0.5}")
UNARY = ("Identity", "Identity", "Neg", "Abs", "Relu")
BINARY = ("Add", "Sub", "Max", "Mul")
LOSSLESS = [n for n in available() if make_pass(n, {}).effect is not Effect.LOSSY]


@dataclass
class Writer:
    """Writes one model, drawing what it does next."""

    draw: st.DrawFn
    count: int = 0

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def one_of(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def block(self, known: list[str], depth: int) -> tuple[list[str], list[str]]:
        """Nodes of one graph, and the values that they define; `known` grows by those."""
        nodes: list[str] = []
        made: list[str] = []
        for _ in range(self.draw(st.integers(1, 4))):
            kinds = ["unary", "unary", "binary", "constant", "call"]
            kind = self.one_of(*kinds, *(["if", "loop"] if depth < 2 else []))
            name = self.fresh()
            nodes.append(f"{name} = {getattr(self, kind)(known, depth)}")
            known.append(name)
            made.append(name)
        return nodes, made

    def unary(self, known: list[str], depth: int) -> str:
        return f"{self.one_of(*UNARY)}({self.one_of(*known)})"

    def binary(self, known: list[str], depth: int) -> str:
        return f"{self.one_of(*BINARY)}({self.one_of(*known)}, {self.one_of(*known)})"

    def call(self, known: list[str], depth: int) -> str:
        return f"local.piece({self.one_of(*known)}, {self.one_of(*known)})"

    def constant(self, known: list[str], depth: int) -> str:
        return f"Constant <value = float[3] {self.one_of(*NUMBERS)}> ()"

    def loop(self, known: list[str], depth: int) -> str:
        start = self.one_of(*known)
        # An input of a body may be called as a value outside is, and hides that.
        state = self.one_of(self.fresh(), *known)
        inner, stored = self.body(known, state)
        nodes, made = self.block(inner, depth + 1)
        turn, going, onward, result = (self.fresh() for _ in range(4))
        nodes += [f"{onward} = Cast <to = 9> ({going})", f"{result} = {self.last(made)}"]
        return (
            f"Loop(two, , {start}) <body = b (int64 {turn}, bool {going}, float[3] {state}) =>"
            f" (bool {onward}, float[3] {result}) {stored} {{ {' '.join(nodes)} }}>"
        )

    def body(self, known: list[str], *own: str) -> tuple[list[str], str]:
        """What a body knows, and its own initializers."""
        names = [self.fresh() for _ in range(self.draw(st.integers(0, 2)))]
        stored = ", ".join(f"float[3] {name} = {self.one_of(*NUMBERS)}" for name in names)
        return [*dict.fromkeys([*known, *own, *names])], f"<{stored}>" if stored else ""

    def branch(self, known: list[str], depth: int) -> str:
        inner, stored = self.body(known)
        nodes, made = self.block(inner, depth + 1)
        result = self.fresh()
        nodes.append(f"{result} = {self.last(made)}")
        return f"b () => (float[3] {result}) {stored} {{ {' '.join(nodes)} }}"

    def last(self, made: list[str]) -> str:
        return f"{self.one_of('Identity', 'Neg')}({self.one_of(*made)})"

    # `if` is a word of the language's own.
    def __getattr__(self, name: str) -> object:
        if name != "if":
            raise AttributeError(name)
        return lambda known, depth: (
            f"If(c) <then_branch = {self.branch(known, depth)},"
            f" else_branch = {self.branch(known, depth)}>"
        )


@st.composite
def models(draw: st.DrawFn) -> ModelProto:
    """A model with bodies in bodies, hidden names, equal constants, dead and empty work."""
    writer = Writer(draw)
    known = ["x", "k0", "k1", "k2"]
    nodes, made = writer.block(known, 0)
    more, new = writer.block(known, 0)
    outputs = draw(st.lists(st.sampled_from([*made, *new]), min_size=1, max_size=3, unique=True))
    inputs = draw(st.sampled_from(["", ", float[3] k2"]))
    listed = ", ".join(f"float[3] {name}" for name in outputs)
    weights = ", ".join(f"float[3] k{i} = {writer.one_of(*NUMBERS)}" for i in range(3))
    text = (
        f"{HEAD} g (float[3] x, bool c{inputs}) => ({listed}) <int64 two = {{2}}, {weights}>"
        f" {{ {' '.join([*nodes, *more])} }} {FUNCTION}"
    )
    return parse(text)


@settings(
    max_examples=16, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(models())
def test_each_pass_alone(model: ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    for name in LOSSLESS:
        outcome = run(model, name)
        assert outcome.left_out == [], name
        agree(model, outcome.after, exact=make_pass(name, {}).effect is Effect.IDENTICAL)
        assert run(outcome.model, name).unchanged, f"{name}: a second run made an edit"


@settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(models())
def test_all_together(model: ModelProto) -> None:
    for recipe in ("identical", "exact"):
        result = graphopt.optimize(model, recipe=recipe, verify=False)
        agree(model, result.model.proto, exact=recipe == "identical")
        assert result.report.left_out == [], onnx.printer.to_text(model)
        assert result.report.after.nodes <= result.report.before.nodes
        again = graphopt.optimize(result.model, recipe=recipe, verify=False)
        assert not again.report.changed


@pytest.mark.whole
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(models())
def test_many_models(model: ModelProto) -> None:
    for recipe in ("identical", "exact"):
        result = graphopt.optimize(model, recipe=recipe, verify=False)
        agree(model, result.model.proto, exact=recipe == "identical")
        assert result.report.left_out == [], onnx.printer.to_text(model)

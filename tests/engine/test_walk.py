from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from graphopt.contract import AnyPass, Context, Editor, Effect, GraphView, NodeView, Rewrite, Skip
from graphopt.engine.walk import PassRun, Walk
from graphopt.errors import PassError
from graphopt.graph import Program, export_program
from tests.build import build
from tests.engine.samples import Found, LocalPass, WholePass, bypass, do_nothing, output_name

RELUS = """g (float[N] x) => (float[N] y) {
    a = Relu(x)
    b = Relu(a)
    y = Neg(b)
}"""


def walk(program: Program, instance: AnyPass, admits: Effect = Effect.LOSSY) -> PassRun:
    return Walk(program, Context(), admits, set()).run(instance)


def ops(program: Program) -> list[str]:
    return [node.op for node in program.main.ordered()]


def is_untouched(program: Program) -> bool:
    return not program.journal.done and export_program(program) is program.model


@dataclass(frozen=True)
class CancelPairs:
    """Removes Exp before Log, and Neg before Neg."""

    name: ClassVar[str] = "cancel_pairs"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Exp", "Neg")

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | None:
        output = node.outputs[0]
        if output is None or len(output.readers) != 1:
            return None
        inverse = {"Exp": "Log", "Neg": "Neg"}[node.op_type]
        is_pair = output.readers[0].node.op_type == inverse
        return Found(node, Effect.ROUNDING) if is_pair else None

    def rewrite(self, match: Found, edit: Editor) -> None:
        first, output = match.node, match.node.outputs[0]
        assert output is not None
        second = output.readers[0].node
        bypass(second, edit)
        bypass(first, edit)


def test_neighbours_of_a_rewrite_are_looked_at_again() -> None:
    # Neg(Neg) come together only once Exp and Log between them are gone.
    program = build("""g (float[N] x) => (float[N] y) {
        a = Neg(x)
        b = Exp(a)
        c = Log(b)
        d = Neg(c)
        y = Relu(d)
    }""")
    assert walk(program, CancelPairs()).rewrites == 2
    assert ops(program) == ["Relu"]


def bypassing(node: NodeView) -> Rewrite:
    return Rewrite(output_name(node), Effect.IDENTICAL, lambda edit: bypass(node, edit))


def test_plan_may_go_through_the_nodes_that_its_rewrites_remove() -> None:
    program = build("""g (float[N] x) => (float[N] y) {
        a = Identity(x)
        b = Identity(a)
        c = Identity(b)
        y = Relu(c)
    }""")

    def steps(graph: GraphView) -> Iterable[Rewrite]:
        for node in graph.nodes:
            if node.op_type == "Identity":
                yield bypassing(node)

    assert walk(program, WholePass(steps)).rewrites == 3
    assert ops(program) == ["Relu"]


def test_a_node_that_a_rewrite_inserts_is_walked_once() -> None:
    program = build(RELUS)
    seen: list[str] = []

    def wanted(node: NodeView) -> bool:
        seen.append(output_name(node))
        source = node.inputs[0]
        assert source is not None
        return source.name == "x"

    def insert_abs(node: NodeView, edit: Editor) -> None:
        new = edit.insert("Abs", [node.inputs[0]], before=node)
        edit.set_input(node, 0, new.outputs[0])

    assert walk(program, LocalPass(insert_abs, wanted=wanted)).rewrites == 1
    assert ops(program) == ["Abs", "Relu", "Relu", "Neg"]
    assert seen[:2] == ["a", "b"]
    assert set(seen[2:]) <= {"a", "b"}


def test_bodies_and_functions_are_walked() -> None:
    program = build("""<ir_version: 9, opset_import: ["": 17, "f": 1]>
    g (bool c, float[N] x) => (float[N] y) {
        z = f.twice(x)
        y = If (c) <
            then_branch = then () => (float[N] p) { p = Relu(z) },
            else_branch = other () => (float[N] q) { q = Relu(z) }>
    }
    <domain: "f", opset_import: ["": 17]>
    twice (a) => (b) { b = Relu(a) }""")
    found = walk(program, LocalPass(do_nothing, wanted=lambda node: False))
    assert found.skipped == {"not wanted": 3}


def test_local_pass_that_never_ends() -> None:
    def toggle(node: NodeView, edit: Editor) -> None:
        edit.set_attribute(node, "alpha", 2.0 - node.attribute("alpha", 1.0) + 0.5)

    program = build("g (float[N] x) => (float[N] y) { y = LeakyRelu<alpha = 0.5>(x) }")
    with pytest.raises(PassError, match="does not come to an end") as caught:
        walk(program, LocalPass(toggle, "LeakyRelu"))
    assert caught.value.pass_name == "test_local"


def setting_alpha(node: NodeView, alpha: float) -> Rewrite:
    return Rewrite("y", Effect.ROUNDING, lambda edit: edit.set_attribute(node, "alpha", alpha))


def test_plan_that_never_ends() -> None:
    program = build("g (float[N] x) => (float[N] y) { y = LeakyRelu<alpha = 0.5>(x) }")

    def steps(graph: GraphView) -> Iterable[Rewrite]:
        (node,) = graph.nodes
        for step in range(1500):  # far more than one node can need; endless would hang the test
            yield setting_alpha(node, float(step))

    with pytest.raises(PassError, match="does not come to an end"):
        walk(program, WholePass(steps))


def test_exception_in_match_names_pass_and_node() -> None:
    def wanted(node: NodeView) -> bool:
        raise ZeroDivisionError("by\nzero")

    program = build(RELUS)
    with pytest.raises(PassError, match="ZeroDivisionError: by zero") as caught:
        walk(program, LocalPass(do_nothing, wanted=wanted))
    assert (caught.value.pass_name, caught.value.node) == ("test_local", "Relu -> a")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert is_untouched(program)


def test_exception_in_rewrite_takes_its_edits_back() -> None:
    def fail_halfway(node: NodeView, edit: Editor) -> None:
        bypass(node, edit)
        raise KeyError("gone")

    program = build(RELUS)
    with pytest.raises(PassError, match="KeyError") as caught:
        walk(program, LocalPass(fail_halfway))
    assert (caught.value.pass_name, caught.value.node) == ("test_local", "Relu -> a")
    assert is_untouched(program)
    assert ops(program) == ["Relu", "Relu", "Neg"]


def test_exception_in_plan_names_the_pass() -> None:
    def steps(graph: GraphView) -> Iterable[Rewrite | Skip]:
        yield Skip("first")
        raise RuntimeError("broken plan")

    with pytest.raises(PassError, match="RuntimeError: broken plan") as caught:
        walk(build(RELUS), WholePass(steps))
    assert caught.value.pass_name == "test_whole"

from __future__ import annotations

from collections.abc import Iterable

import pytest

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Rewrite, Skip
from graphopt.engine.walk import Walk
from graphopt.errors import PassError
from graphopt.graph import export_program
from tests.build import build
from tests.engine.samples import Action, LocalPass, WholePass, bypass, do_nothing, output_name
from tests.engine.test_walk import RELUS, is_untouched, ops, setting_alpha, walk


def test_rewrite_may_not_be_stronger_than_its_pass_declares() -> None:
    program = build(RELUS)
    instance = LocalPass(bypass, states=Effect.LOSSY)  # which declares ROUNDING
    with pytest.raises(PassError, match="a rewrite is lossy, the pass declares rounding") as caught:
        walk(program, instance)
    assert caught.value.node == "Relu -> a"
    assert is_untouched(program)


def test_recipe_admits_only_so_much() -> None:
    program = build(RELUS)
    found = walk(program, LocalPass(bypass, states=Effect.ROUNDING), Effect.IDENTICAL)
    assert found.rewrites == 0
    assert found.skipped == {"the recipe does not admit rounding rewrites": 2}
    assert is_untouched(program)


def test_recipe_admits_weaker_rewrites_of_a_strong_pass() -> None:
    found = walk(build(RELUS), LocalPass(bypass, states=Effect.IDENTICAL), Effect.IDENTICAL)
    assert found.rewrites == 2


def test_rewrite_without_an_edit() -> None:
    with pytest.raises(PassError, match="without an edit"):
        walk(build(RELUS), LocalPass(do_nothing))


def test_edit_that_changes_nothing_is_none() -> None:
    def read_the_same(node: NodeView, edit: Editor) -> None:
        edit.set_input(node, 0, node.inputs[0])
        edit.set_attribute(node, "alpha", None)

    with pytest.raises(PassError, match="without an edit"):
        walk(build(RELUS), LocalPass(read_the_same))


def lose_input(node: NodeView, edit: Editor) -> None:
    edit.set_input(node, 0, None)


def add_attribute(node: NodeView, edit: Editor) -> None:
    new = edit.insert("Abs", [node.inputs[0]], before=node, attributes={"depth": 3})
    edit.set_input(node, 0, new.outputs[0])


def invent_operator(node: NodeView, edit: Editor) -> None:
    edit.set_input(node, 0, edit.insert("Frobnicate", [node.inputs[0]], before=node).outputs[0])


def cut_readers_off(node: NodeView, edit: Editor) -> None:
    edit.remove(node)


def make_cycle(node: NodeView, edit: Editor) -> None:
    output = node.outputs[0]
    assert output is not None
    edit.set_input(node, 0, output.readers[0].node.outputs[0])


BREAKING = [lose_input, add_attribute, invent_operator, cut_readers_off, make_cycle]


@pytest.mark.parametrize("action", BREAKING, ids=lambda action: action.__name__)
def test_rewrite_that_breaks_the_graph_is_left_out(action: Action) -> None:
    program = build(RELUS)

    def at_a_only(node: NodeView, edit: Editor) -> None:
        if output_name(node) == "a":
            action(node, edit)
        else:
            bypass(node, edit)

    found = walk(program, LocalPass(at_a_only))
    (left_out,) = found.left_out
    assert (left_out.pass_name, left_out.root, left_out.ordinal) == ("test_local", "a", 0)
    assert left_out.label == "Relu -> a"
    assert left_out.reason
    assert found.rewrites == 1
    assert ops(program) == ["Relu", "Neg"]
    export_program(program)


def removing(node: NodeView) -> Rewrite:
    return Rewrite(output_name(node), Effect.IDENTICAL, lambda edit: edit.remove(node))


def test_whole_pass_whose_rewrite_breaks_the_graph() -> None:
    program = build(RELUS)

    def steps(graph: GraphView) -> Iterable[Rewrite | Skip]:
        for node in graph.nodes[:2]:
            yield removing(node)

    found = walk(program, WholePass(steps))
    assert [item.root for item in found.left_out] == ["a", "b"]
    assert found.rewrites == 0
    assert is_untouched(program)


def test_blocked_rewrite_stays_out() -> None:
    program = build(RELUS)
    blocked = {("test_local", "a", 0)}
    found = Walk(program, Context(), Effect.LOSSY, blocked).run(LocalPass(bypass))
    assert found.skipped == {"left out: it failed a check": 1}
    assert ops(program) == ["Relu", "Neg"]


def test_ordinal_counts_the_rewrites_of_one_root() -> None:
    program = build("g (float[N] x) => (float[N] y) { y = LeakyRelu<alpha = 0.5>(x) }")

    def steps(graph: GraphView) -> Iterable[Rewrite]:
        (node,) = graph.nodes
        for alpha in (0.1, 0.2, 0.3):
            yield setting_alpha(node, alpha)

    walk(program, WholePass(steps))
    assert [t.ordinal for t in program.journal.done] == [0, 1, 2]


def test_skips_of_a_plan_are_counted_by_reason() -> None:
    skips = [Skip("too large"), Skip("too large"), Skip("odd")]
    found = walk(build(RELUS), WholePass(lambda graph: skips))
    assert found.skipped == {"too large": 2, "odd": 1}


def test_refusals_count_nodes_not_looks() -> None:
    # b is refused at first, looked at again when a goes away, and refused again: one node.
    found = walk(build(RELUS), LocalPass(bypass, wanted=lambda node: output_name(node) == "a"))
    assert found.rewrites == 1
    assert found.skipped == {"not wanted": 1}


def test_opaque_nodes_are_not_shown_to_a_pass() -> None:
    program = build("""<ir_version: 8, opset_import: ["": 17, "com.acme": 1]>
    g (float[N] x) => (float[N] y) { y = com.acme.Relu(x) }""")
    shown: list[str] = []

    def wanted(node: NodeView) -> bool:
        shown.append(node.label())
        return False

    walk(program, LocalPass(do_nothing, wanted=wanted))
    assert not shown

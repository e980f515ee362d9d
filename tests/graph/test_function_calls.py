"""Local functions: who calls them, and how they go; refusals are tested with the pass."""

from __future__ import annotations

import pytest

from graphopt.contract import Skip
from graphopt.errors import EditRefused
from graphopt.graph import export_program, graph_view
from graphopt.graph.stats import every_node
from tests.graph.edited import Edited

CALLS = """<ir_version: 9, opset_import: ["": 17, "local": 1]>
agraph (float[4] x, bool c) => (float[4] y) {
  s = local.f<slope = 0.5>(x)
  t = If (c) <
    then_branch = yes () => (float[4] p) { p = local.f(s) },
    else_branch = no () => (float[4] q) { q = Abs(s) }
  >
  y = local.h(t)
}
<domain: "local", opset_import: ["": 17]>
f <slope: float = 0.25> (v) => (r) { s = Exp(v) r = LeakyRelu<alpha: float = @slope>(s) }
<domain: "local", opset_import: ["": 17]>
h (v) => (r) { r = Neg(v) }
"""


def test_a_function_goes_and_comes_back() -> None:
    edited = Edited(CALLS)
    before = edited.program.model.proto
    function, other = (graph_view(f, edited.program) for f in edited.program.functions)
    calls = function.calls()
    assert not isinstance(calls, Skip)
    assert calls is not None
    assert [call.graph.kind for call in calls] == ["main", "body"]
    with pytest.raises(EditRefused, match="still called"):
        edited.edit.remove_function(function)
    with pytest.raises(EditRefused, match="no body of it"):
        edited.edit.inline(calls[0], other, calls[0].inputs)
    for call in calls:
        (result,) = edited.edit.inline(call, function, call.inputs)
        output = call.outputs[0]
        assert output is not None
        edited.edit.replace(output, result)
        edited.edit.remove(call)
    edited.edit.remove_function(function)
    assert function.calls() is None
    with pytest.raises(EditRefused, match="no function"):
        edited.edit.remove_function(function)
    edited.text()
    after = export_program(edited.program).proto
    assert [f.name for f in after.functions] == ["h"]
    slopes = [n.attribute[0].f for n in every_node(after) if n.op_type == "LeakyRelu"]
    assert slopes == [0.5, 0.25]
    edited.program.journal.append(edited.transaction)
    for _ in range(2):
        edited.program.journal.move_to(0)
        assert export_program(edited.program, rebuild=True).proto == before
        assert export_program(edited.program) is edited.program.model
        edited.program.journal.move_to(1)
        assert export_program(edited.program).proto == after


def test_calls_are_told_of_functions_alone() -> None:
    edited = Edited(CALLS)
    assert edited.graph.calls() is None
    assert edited.node("If").bodies["then_branch"].calls() is None

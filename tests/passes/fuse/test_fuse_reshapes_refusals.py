"""fuse_reshapes: what it leaves alone, and the reason that the report counts."""

from __future__ import annotations

import pytest

from graphopt.passes.fuse.fuse_reshapes import FuseReshapes
from tests.build import parse
from tests.passes.fuse.fused import refused
from tests.passes.fuse.test_fuse_reshapes import i64, model_of
from tests.passes.placed import placed
from tests.passes.support import agree, random_feeds, run

FUSE = FuseReshapes()
HEAD = '<ir_version: 10, opset_import: ["" : 18, "com.example" : 1]>'
NO_WORDS = "no single operator says it"
UNKNOWN = "targets or axes are not known"
ELSEWHERE = "what lies between is read elsewhere"
NOT_PLAIN = "the first is not a plain one beside the second"


def test_before_opset_5_nothing_says_reshape() -> None:
    body = "a = Unsqueeze <axes = [0]> (x)\nb = Reshape <shape = [-1]> (a)\ny = Relu(b)"
    refused(placed("main", body, x="float[2,3]", y="float[6]", opset=4, ir=8), FUSE, UNKNOWN)
    body = "a = Squeeze <axes = [0]> (x)\nb = Unsqueeze <axes = [1]> (a)\ny = Relu(b)"
    refused(placed("main", body, x="float[1,3]", y="float[3,1]", opset=4, ir=8), FUSE, NO_WORDS)


WORDLESS = {
    "two left open": ("Reshape(x, p)", "Reshape(a, q)", [-1, 0, 2], [0, -1], "float[N,M,K]"),
    "-1 beside a copy": ("Flatten(x)", "Unsqueeze(a, q)", [], [1], "float[N,M,K]"),
    "-1 beside a copy, of two": ("Unsqueeze(x, p)", "Flatten(a)", [2], [], "float[N,M,K]"),
    "a copy elsewhere": ("Squeeze(x, p)", "Unsqueeze(a, q)", [0], [2], "float[1,N,M]"),
}
"""Where a copied dimension may be 0, Reshape would not know the open one."""


@pytest.mark.parametrize("case", WORDLESS)
def test_no_single_operator_says_it(case: str) -> None:
    first, second, p, q, x = WORDLESS[case]
    y = "float[" + ",".join("?" * (len(q) + 2 if "Unsqueeze(a" in second else 2)) + "]"
    refused(model_of(first, second, x, y, (p, q)), FUSE, NO_WORDS)


REFUSED: dict[str, tuple[str, str | None]] = {
    "a computed target": ("s = Shape(x)\na = Reshape(x, s)\nb = Unsqueeze(a, z)\nd = ReduceSum(b)\n"
                          "y = Mul(d, x)", UNKNOWN),
    "all ones": ("a = Unsqueeze(x, z)\nb = Squeeze(a)\ny = Neg(b)", UNKNOWN),
    "allowzero": ("a = Unsqueeze(x, z)\nb = Reshape <allowzero = 1> (a, n)\ny = Expand(b, t)",
                  UNKNOWN),
    "the middle of Flatten": ("a = Unsqueeze(x, z)\nb = Flatten <axis = 2> (a)\nd = ReduceSum(b)\n"
                              "y = Mul(d, x)", UNKNOWN),
    "another reader": ("a = Reshape(x, o)\nb = Unsqueeze(a, z)\nd = ReduceSum(a)\n"
                       "e = ReduceSum(b)\nf = Sub(d, e)\ny = Mul(x, f)", ELSEWHERE),
    "another between": ("a = Unsqueeze(x, z)\nb = Neg(a)\ny = Squeeze(b, z)", None),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    body, reason = REFUSED[case]
    stored = {"z": i64(0), "o": i64(-1), "n": i64(0, 2, 3), "t": i64(2, 3)}
    outcome = run(placed("main", body, stored, x="float[2,3]", y="float[?,?]"), FUSE)
    assert outcome.unchanged
    assert outcome.skipped == ({} if reason is None else {reason: 1})


def test_shapes_in_functions_are_not_known() -> None:
    model = model_of("Unsqueeze(x, p)", "Squeeze(a, q)", "float[2,3]", "float[2,3]", ([0], [0]),
                     place="function")  # fmt: skip
    refused(model, FUSE, UNKNOWN)


def test_what_lies_between_is_a_graph_output() -> None:
    text = (
        HEAD
        + """g (float[2,3] x) => (float[1,6] y, float[6] a) {
        a = Reshape(x, p) b = Unsqueeze(a, q) y = Neg(b)
    }"""
    )
    refused(parse(text, p=i64(-1), q=i64(0)), FUSE, ELSEWHERE)


def test_other_domains_and_overridable_numbers() -> None:
    nodes = "a = %sReshape(x, p) b = Unsqueeze(a, q) y = Neg(b)"
    for domain, inputs, reason in (("com.example.", "", NOT_PLAIN), ("", ", int64[1] q", UNKNOWN)):
        text = f"{HEAD} g (float[2,3] x{inputs}) => (float[?,?] y) {{ {nodes % domain} }}"
        refused(parse(text, p=i64(-1), q=i64(0)), FUSE, reason)


def test_a_dimension_that_may_not_be_one_is_not_squeezed() -> None:
    """Where N is 0, Reshape takes any M; Squeeze does not."""
    model = model_of("Reshape(x, p)", "Squeeze(a, q)", "float[N,M]", "float[?]", ([0, 1], [1]))
    outcome = run(model, FUSE)
    assert [entry for entry in outcome.lines if "Squeeze" in entry] == []
    for sizes in ({"N": 3, "M": 1}, {"N": 0, "M": 5}):
        agree(outcome.before, outcome.after, [random_feeds(model, 0, sizes)], exact=True)

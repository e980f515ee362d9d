from __future__ import annotations

from graphopt.contract import Context, Effect
from graphopt.engine import make_pass
from graphopt.engine.walk import Walk
from tests.build import build

TEXT = "g (float[N] x) => (float[N] y) { a = Identity(x)\n y = Relu(a) }"


def test_what_is_made_is_kept_until_an_edit() -> None:
    program = build(TEXT)
    context = Context(revision=lambda: program.journal.revision)
    made: list[str] = []

    def make() -> int:
        made.append("once more")
        return len(made)

    assert context.until_edited("it", make) == 1
    assert context.until_edited("it", make) == 1
    assert context.until_edited("another", make) == 2
    Walk(program, context, Effect.IDENTICAL, set()).run(make_pass("eliminate_identity", {}))
    assert context.until_edited("it", make) == 3
    program.journal.move_to(0)
    assert context.until_edited("it", make) == 4
    assert context.until_edited("it", make) == 4


def test_an_edit_while_it_is_made_shows() -> None:
    numbers = iter([1, 2, 2])
    context = Context(revision=lambda: next(numbers))
    assert context.until_edited("it", lambda: "found") == "found"
    assert context.until_edited("it", lambda: "again") == "found"


def test_without_an_engine_nothing_is_kept() -> None:
    context = Context()
    assert context.until_edited("it", lambda: 1) == 1
    assert context.until_edited("it", lambda: 2) == 2

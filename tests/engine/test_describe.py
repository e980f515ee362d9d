from __future__ import annotations

from typing import Any

import pytest

from graphopt.contract import Effect
from graphopt.engine.describe import REQUIRED, command_text, describe, toml_text
from graphopt.engine.options import make_pass, parse_pass
from graphopt.engine.recipe import PassSpec, parse_recipe
from graphopt.engine.registry import available, find
from tests.engine.conftest import Install
from tests.engine.third_party import KNOBS, pass_source

DOCUMENTED = '''
"""Swap things.

Before: a, b        After: b, a
"""
from dataclasses import dataclass, field
from typing import ClassVar
from graphopt.contract import Effect

@dataclass(frozen=True)
class SwapThings:
    """Let a be b,
    and b be a.

    Neither is lost. Fires on: lenet_5,
    mixnet. Source: folklore; arXiv
    0000.00000.

    Attributes:
        count: How many: at most
            all of them.

            Even so.
        names (tuple): Which ones.

    Said last.
    """

    name: ClassVar[str] = "swap_things"
    effect: ClassVar[Effect] = Effect.LOSSY
    roots: ClassVar[tuple[str, ...]] = ("Add", "Mul")
    count: int = 3
    names: tuple[str, ...] = field(default_factory=lambda: ("a", "b"))
    silent: bool = False
    derived: int = field(default=0, init=False)

    def match(self, node, graph, context):
        return None
'''


def test_docstrings_are_taken_apart(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"restructure/swap_things.py": DOCUMENTED})
    found = describe(find("swap_things"))
    assert found.entry.category == "restructure"
    assert found.effect is Effect.LOSSY
    assert found.roots == ("Add", "Mul")
    assert found.summary == "Let a be b, and b be a."
    assert found.module_text == "Swap things.\n\nBefore: a, b        After: b, a"
    assert found.fires_on == ("lenet_5", "mixnet")
    assert found.source == "folklore; arXiv 0000.00000."
    assert found.class_text.split() == ["Neither", "is", "lost.", "Said", "last."]


def test_options_have_type_default_and_text(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"swap_things.py": DOCUMENTED})
    count, names, silent = describe(find("swap_things")).options
    assert (count.name, count.type, count.default) == ("count", "int", 3)
    assert count.text == "How many: at most all of them. Even so."
    assert (names.type, names.default, names.text) == ("list of str", ("a", "b"), "Which ones.")
    assert (silent.default, silent.text) == (False, "")


def test_types_are_words(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"tune_knobs.py": KNOBS})
    types = {option.name: option.type for option in describe(find("tune_knobs")).options}
    assert types == {
        "count": "int",
        "ratio": "float",
        "fast": "bool",
        "label": "str",
        "axis": '"channel" or "tensor"',
        "bits": "4 or 8",
        "limit": 'int or "none"',
        "scale": 'float or "none"',
        "sizes": "list of int",
    }


def test_pass_without_a_docstring(third_party: Install) -> None:
    """A dataclass makes up a docstring, its signature: that says nothing."""
    bare = pass_source("swap_things").replace('    """Does nothing."""\n', "")
    third_party("acme", "acme_passes", {"swap_things.py": bare})
    found = describe(find("swap_things"))
    assert (found.summary, found.module_text, found.class_text) == ("", "", "")
    assert (found.fires_on, found.source, found.options) == ((), "", ())


def test_option_without_a_default(third_party: Install) -> None:
    source = KNOBS.replace("count: int = 1", "count: int")
    third_party("acme", "acme_passes", {"tune_knobs.py": source})
    assert describe(find("tune_knobs")).options[0].default is REQUIRED


VALUES: dict[str, Any] = {
    "count": 7,
    "ratio": 1e-5,
    "fast": True,
    "label": 'a "b" \\ c',
    "axis": "channel",
    "bits": 4,
    "limit": None,
    "scale": 0.25,
    "sizes": (1, 2),
}


def test_toml_text_gives_the_value_back(third_party: Install) -> None:
    third_party("acme", "acme_passes", {"tune_knobs.py": KNOBS})
    lines = [f"{name} = {toml_text(value)}" for name, value in VALUES.items()]
    text = '[[stage]]\n[[stage.pass]]\nname = "tune_knobs"\n' + "\n".join(lines)
    (spec,) = parse_recipe(text, "test").stages[0].passes
    made = spec.make()
    assert {name: getattr(made, name) for name in VALUES} == VALUES


@pytest.mark.parametrize("name", sorted(set(VALUES) - {"label"}))
def test_command_text_gives_the_value_back(third_party: Install, name: str) -> None:
    third_party("acme", "acme_passes", {"tune_knobs.py": KNOBS})
    made = make_pass(*parse_pass(f"tune_knobs:{name}={command_text(VALUES[name])}"))
    assert getattr(made, name) == VALUES[name]


@pytest.mark.parametrize("name", list(available()))
def test_every_option_of_every_pass_says_what_it_means(name: str) -> None:
    found = describe(find(name))
    assert found.summary.endswith("."), "a sentence of one line"
    assert [option.name for option in found.options if not option.text] == []
    defaults = {option.name: option.default for option in found.options}
    assert REQUIRED not in defaults.values()
    assert PassSpec.of(make_pass(name, defaults)).options == {}


def test_enumerations_are_their_values() -> None:
    assert toml_text(Effect.ROUNDING) == '"rounding"'
    assert command_text([Effect.ROUNDING, 1.5]) == "rounding+1.5"

from __future__ import annotations

import re
import shlex
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from graphopt.contract import Effect
from graphopt.engine.describe import Description, describe
from graphopt.engine.options import make_pass, parse_pass
from graphopt.engine.pass_page import pass_index, pass_page
from graphopt.engine.recipe import parse_recipe
from graphopt.engine.registry import available, find
from tests.build import few
from tests.engine.conftest import Install
from tests.engine.third_party import KNOBS, pass_source


def parsed(text: str) -> list[Token]:
    """Markdown as GitHub reads it, as far as it matters here: CommonMark and tables."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def fences(text: str, language: str) -> list[str]:
    return [t.content for t in parsed(text) if t.type == "fence" and t.info == language]


def paragraphs(text: str) -> list[str]:
    """What a reader sees of each paragraph, list item, heading and cell, markup taken off."""
    return [
        "".join(" " if t.type == "softbreak" else t.content for t in token.children or ())
        for token in parsed(text)
        if token.type == "inline"
    ]


def page(third_party: Install, source: str, name: str = "swap_things") -> str:
    third_party("acme", "acme_passes", {f"{name}.py": source})
    return pass_page(describe(find(name)))


def with_doc(text: str) -> str:
    return f"r'''Swap.\n\n{text}\n'''\n" + pass_source("swap_things").lstrip()


@pytest.mark.parametrize("name", list(available()))
def test_recipe_of_the_page_is_the_pass_with_its_defaults(name: str) -> None:
    described = describe(find(name))
    (text,) = fences(pass_page(described), "toml")
    recipe = parse_recipe(text, "page")
    assert recipe.admits is described.effect
    assert [(spec.name, spec.options) for s in recipe.stages for spec in s.passes] == [(name, {})]
    assert set(tomllib.loads(text)["stage"][0]["pass"][0]) == {
        "name",
        *(option.name for option in described.options),
    }


@pytest.mark.parametrize("name", list(available()))
def test_command_and_python_of_the_page_work(name: str) -> None:
    text = pass_page(describe(find(name)))
    (command,) = fences(text, "sh")
    words = shlex.split(command)
    assert words[:2] == ["graphopt", "optimize"]
    made = make_pass(*parse_pass(words[words.index("--pass") + 1]))
    assert made == make_pass(name, {})
    (code,) = fences(text, "python")
    names: dict[str, object] = {}
    exec("\n".join(code.splitlines()[:2]), names)
    assert type(made) in names.values()


@pytest.mark.parametrize("name", list(available()))
def test_nothing_is_lost_on_the_page(name: str) -> None:
    """Every word of the docstrings is there, and no line of a drawing is changed."""
    described = describe(find(name))
    text = pass_page(described)
    seen = " ".join([*paragraphs(text), *fences(text, "text")]).split()
    words = f"{described.module_text} {described.class_text} {described.summary}"
    assert set(words.replace("`", "").split()) - set(seen) <= {"-"}
    drawn = [line for block in fences(text, "text") for line in block.splitlines()]
    module = described.module_text.splitlines()
    assert {line for line in module if line.startswith(("Before:", "After:"))} <= set(drawn)


def test_drawings_stand_as_they_are(third_party: Install) -> None:
    drawing = "Before: x -> A(`w`) -> *b* -> y\n          \\-> z\n\nAfter:  x -> y"
    text = page(third_party, with_doc(f"{drawing}\n\nSo much for that.\n\na     b\n1     2\n"))
    assert fences(text, "text") == [f"{drawing}\n", "a     b\n1     2\n"]


def test_lists_stay_lists(third_party: Install) -> None:
    text = page(third_party, with_doc("Refused:\n- one *a*,\n  of b\n- two.\n\nx - 1\n- y"))
    items = [token for token in parsed(text) if token.type == "list_item_open"]
    assert len(items) == 2
    assert "one *a*, of b" in paragraphs(text)
    assert "x - 1 - y" in paragraphs(text)


AWKWARD = [
    *("x", "a_b", "a*b", "*", "**b**", "*b*", "_a", "a_", "__b__", "~~~", "~~s~~"),
    *("<b>", "<", "<!--", "&lt;", "&", "\\", "\\*", "[a]", "](b)", "[a](b)", "[a]:", "![i](j)"),
    *("#", "##", "--", "---", "===", "+", ">", "1.", "2)", "12", "|", "|---|"),
    *("`", "``", "```", "`c`", "`a*b`", "<http://x>", "\n", "\n"),
]  # fmt: skip
"""What plain text may hold and Markdown takes for more."""


@settings(few, max_examples=300)
@given(st.lists(st.sampled_from(AWKWARD), min_size=1, max_size=12))
def test_prose_reads_as_in_the_source(words: list[str]) -> None:
    # `- ` items are meant to be a list; a blank line would end the paragraph.
    text = "\n".join(filter(None, map(str.strip, " ".join(words).splitlines()))) or "x"
    found = Description(
        find("fold_constants"), Effect.LOSSY, (), "", f"A.\n\n{text}", "", (), "", ()
    )
    seen = paragraphs(pass_page(found))
    plain = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"\1", text)
    assert "".join(plain.split()) in ["".join(paragraph.split()) for paragraph in seen]


def test_table_has_a_row_per_option(third_party: Install) -> None:
    text = page(third_party, KNOBS, "tune_knobs")
    rows = [token for token in parsed(text) if token.type == "tr_open"]
    facts = 3  # effect, what it looks at, where it comes from; the first row of a table is its head
    assert len(rows) == 1 + facts + 1 + len(describe(find("tune_knobs")).options)
    assert "`int or " not in text
    assert '| `limit` | int or "none" | `5` |' in text


def test_bars_do_not_break_a_table(third_party: Install) -> None:
    source = KNOBS.replace(
        '"""Has an option of every type."""',
        '"""Has.\n\n    Attributes:\n        count: Either a|b or `c|d`.\n    """',
    )
    cells = [p for p in paragraphs(page(third_party, source, "tune_knobs")) if "Either" in p]
    assert cells == ["Either a|b or c|d."]


def test_option_without_a_default_is_a_comment_in_the_recipe(third_party: Install) -> None:
    text = page(third_party, KNOBS.replace("count: int = 1", "count: int"), "tune_knobs")
    (recipe,) = fences(text, "toml")
    assert "  # count = ... (int) has no default" in recipe
    assert "count" not in tomllib.loads(recipe)["stage"][0]["pass"][0]
    assert "| `count` | int | required |" in text


def test_page_of_a_third_party_imports_from_it(third_party: Install) -> None:
    text = page(third_party, pass_source("swap_things"))
    assert "from acme_passes.swap_things import SwapThings" in text
    assert "| comes with | acme |" in text


def test_index_links_every_pass() -> None:
    text = pass_index(map(describe, available().values()))
    links = {
        child.attrs["href"]
        for token in parsed(text)
        for child in token.children or ()
        if child.type == "link_open"
    }
    assert links == {f"{name}.md" for name in available()}

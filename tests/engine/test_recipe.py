from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.contract import Effect
from graphopt.engine import (
    PassSpec,
    Recipe,
    Stage,
    load_recipe,
    parse_pass,
    parse_recipe,
    recipe_of,
)
from graphopt.engine.recipe import DEFAULT_REPEAT, built_in
from graphopt.errors import FileError, UsageError

HEAD = '[[stage]]\n[[stage.pass]]\nname = "fold_constants"\n'

plain_specs = st.sampled_from(["eliminate_identity", "fuse_conv_batchnorm"]).map(PassSpec)
# Values that are no defaults, in the order of the fields: such options are kept as they are.
fold_specs = st.builds(
    lambda growth, size: PassSpec(
        "fold_constants", {"max_growth_bytes": growth, "max_bytes": size}
    ),
    st.integers(0, 1000),
    st.integers(0, 1000),
)
stages = st.builds(
    Stage,
    st.lists(plain_specs | fold_specs, min_size=1, max_size=4).map(tuple),
    st.integers(1, 100),
)
recipes = st.builds(
    Recipe,
    st.just("mine"),
    st.lists(stages, min_size=1, max_size=3).map(tuple),
    st.sampled_from(Effect),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@given(recipes)
def test_text_gives_the_recipe_back(recipe: Recipe) -> None:
    again = parse_recipe(recipe.to_text(), recipe.name)
    assert again == recipe
    assert again.digest == recipe.digest


@pytest.mark.parametrize("name", built_in())
def test_built_in_recipes_parse_and_tell_what_they_do(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.description
    assert parse_recipe(recipe.to_text(), name) == recipe


def test_built_in_recipes_admit_what_their_names_promise() -> None:
    assert {"exact", "identical"} <= set(built_in())
    assert load_recipe("exact").admits is Effect.ROUNDING
    assert load_recipe("identical").admits is Effect.IDENTICAL


@pytest.mark.parametrize("effect", list(Effect))
def test_admits(effect: Effect) -> None:
    assert parse_recipe(f'admits = "{effect}"\n{HEAD}', "r").admits is effect


def test_defaults() -> None:
    recipe = parse_recipe(HEAD, "r")
    assert recipe.admits is Effect.LOSSY
    assert recipe.stages == (Stage((PassSpec("fold_constants"),), DEFAULT_REPEAT),)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('admit = "lossy"\n' + HEAD, "unknown recipe key 'admit'", "did you mean admits?"),
        (
            HEAD.replace("[[stage.", "repeats = 2\n[[stage."),
            "unknown stage key 'repeats'",
            "did you mean repeat?",
        ),
        (HEAD + "max_byte = 2\n", "no option 'max_byte'", "did you mean max_bytes?"),
        (
            HEAD.replace("fold_", "fold"),
            "there is no pass 'foldconstants'",
            "did you mean fold_constants?",
        ),
        ('admits = "much"\n' + HEAD, "admits = 'much'", "one of: identical, rounding, lossy"),
    ],
)
def test_mistake_comes_with_a_suggestion(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(text, "mine")
    assert caught.value.message == message
    assert caught.value.hint == hint
    assert caught.value.file == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stage = 3\n",
        "[[stage]]\n",
        "[[stage]]\npass = 'fold_constants'\n",
        "[[stage]]\n[[stage.pass]]\nbits = 8\n",
        "[[stage]]\nrepeat = 0\n[[stage.pass]]\nname = 'fold_constants'\n",
        "[[stage]]\nrepeat = true\n[[stage.pass]]\nname = 'fold_constants'\n",
        "[[stage]]\n[[stage.pass]]\nname = 'fold_constants'\nmax_bytes = 'much'\n",
        "[[stage]\n",
        "admits = ['lossy']\n" + HEAD,
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_recipe(text, "mine")


def test_digest_ignores_the_order_of_keys() -> None:
    tail = "max_bytes = 5\nmax_growth_bytes = 6\n"
    other = (
        '[[stage]]\n[[stage.pass]]\nmax_growth_bytes = 6\nmax_bytes = 5\nname = "fold_constants"\n'
    )
    assert parse_recipe(HEAD + tail, "a").digest == parse_recipe(other, "b").digest


def test_digest_is_the_same_from_the_command_line_as_from_toml() -> None:
    spec = PassSpec(*parse_pass("fold-constants:max-bytes=5"))
    assert recipe_of([spec]).digest == parse_recipe(HEAD + "max_bytes = 5\n", "r").digest


def test_digest_changes_with_the_recipe() -> None:
    digests = {
        parse_recipe(text, "r").digest
        for text in (HEAD, HEAD + "max_bytes = 5\n", 'admits = "rounding"\n' + HEAD, HEAD + HEAD)
    }
    assert len(digests) == 4


def test_digest_is_stable_across_processes() -> None:
    code = "from graphopt.engine import load_recipe; print(load_recipe('exact').digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == load_recipe("exact").digest


def test_extended_adds_a_stage() -> None:
    recipe = load_recipe("identical").extended([PassSpec("fuse_conv_batchnorm")])
    assert [spec.name for spec in recipe.stages[-1].passes] == ["fuse_conv_batchnorm"]
    assert len(recipe.stages) == len(load_recipe("identical").stages) + 1


def test_recipe_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(load_recipe("exact").to_text(), encoding="utf-8")
    recipe = load_recipe(file)
    assert recipe.name == "mine"
    assert recipe.digest == load_recipe("exact").digest


def test_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("stages = 1\n" + HEAD, encoding="utf-8")
    with pytest.raises(UsageError, match="unknown recipe key") as caught:
        load_recipe(str(file))
    assert caught.value.file == str(file)


def test_unknown_recipe_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match="there is no recipe 'exakt'") as caught:
        load_recipe("exakt")
    assert caught.value.hint == "did you mean exact?"


def test_recipe_file_that_is_missing_or_unreadable(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="cannot be read"):
        load_recipe(tmp_path / "odd.toml")

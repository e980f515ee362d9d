"""What every registered pass promises.

A pass of a plug-in is covered without a word here; one of our own says where it must be quiet.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import graphopt
from graphopt.contract import Effect
from graphopt.engine import OptimizeResult, available, make_pass
from graphopt.model import SaveOptions, load_model, save_model
from models.catalog import load_catalog
from models.fetch import fetch
from tests.passes.contract_checks import (
    WHOLE,
    check_declaration,
    check_deterministic,
    check_situation,
)
from tests.passes.pieces import PIECES
from tests.passes.pieces.checked import CHECKED, Checked
from tests.passes.situations import SITUATIONS, domain_spelled_out, plain
from tests.passes.support import agree, answers, random_feeds

PASSES = list(available())
OPTIONS: dict[str, dict[str, object]] = {"quantize_weights": {"min_elements": 1}}
"""What lets a pass do something to small models."""
EVERYWHERE = [(piece, situation) for piece in PIECES for situation in SITUATIONS]
TOGETHER = [
    (piece, situation)
    for piece, situation in EVERYWHERE
    if piece in WHOLE or situation in ("plain", "loop body")
]
"""Where recipe `exact` is run: all of it takes seconds and says nothing more."""


def build(piece: str, situation: str, name: str = "") -> ModelProto:
    """A situation around a piece, for a pass or for the recipe."""
    return SITUATIONS[situation](PIECES[piece], make_pass(name, {}) if name else None)


@pytest.mark.parametrize(("piece", "situation"), EVERYWHERE)
def test_the_situations_are_valid_models_and_move(piece: str, situation: str) -> None:
    """Their outputs vary over the inputs: a constant one would prove nothing."""
    model = build(piece, situation)
    onnx.checker.check_model(model, full_check=True)
    first, second = (answers(model, random_feeds(model, s), reference=False) for s in (0, 2))
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", PASSES)
def test_declaration(name: str) -> None:
    entry = available()[name]
    instance = make_pass(name, {})
    check_declaration(instance)
    assert instance.name == name == entry.module.rpartition(".")[2]


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", PASSES)
def test_situation(name: str, situation: str) -> None:
    """All promises are kept; one of our own passes makes edits just where CHECKED says so."""
    where = CHECKED.get(name, Checked("first"))
    instance = make_pass(name, OPTIONS.get(name, {}))
    result = check_situation(instance, SITUATIONS[situation](PIECES[where.piece], instance))
    if name in CHECKED:
        quiet = where.quiet | {"nothing to do"}
        assert result.report.changed == (situation not in quiet)


def test_every_pass_of_our_own_is_spoken_for() -> None:
    """A lossless pass states where it does nothing: else it may be checked where it never does."""
    own = {name for name in PASSES if available()[name].distribution == "graphopt"}
    exact = {name for name in own if make_pass(name, {}).effect is not Effect.LOSSY}
    assert sorted(set(CHECKED) & exact) == sorted(exact)
    assert set(CHECKED) <= own
    assert {where.piece for where in CHECKED.values()} == set(PIECES)
    assert set().union(*(where.quiet for where in CHECKED.values())) <= set(SITUATIONS)


@pytest.mark.parametrize(("piece", "situation"), TOGETHER)
def test_all_together(piece: str, situation: str) -> None:
    """The recipe `exact`: verified, no more nodes than before, and at a fixed point."""
    model = build(piece, situation)
    result = graphopt.optimize(model)
    report = result.report
    assert report.left_out == []
    assert report.after.nodes <= report.before.nodes
    assert report.status == "verified" or situation in ("graph outputs", "two readers")
    if piece in WHOLE and situation != "graph outputs":
        assert report.changed == (situation != "nothing to do")
    if report.changed:
        assert not graphopt.optimize(result.model, verify=False).report.changed


@pytest.mark.parametrize("name", PASSES)
def test_another_run_gives_the_same_bytes(name: str) -> None:
    piece = PIECES[CHECKED.get(name, Checked("first")).piece]
    check_deterministic(make_pass(name, OPTIONS.get(name, {})), plain(piece))


@pytest.mark.parametrize("name", PASSES)
def test_weights_in_another_file(name: str, tmp_path: Path) -> None:
    source = save_model(
        load_model(plain(PIECES[CHECKED.get(name, Checked("first")).piece])),
        tmp_path / "m.onnx",
        SaveOptions(external_threshold=1),
    )
    before = source.read_bytes()
    result = graphopt.optimize(source, passes=[name])
    assert (result.report.status, result.report.left_out) == ("verified", [])
    target = graphopt.save(result, tmp_path / "out.onnx")
    assert source.read_bytes() == before
    agree(onnx.load(source), onnx.load(target))


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("imported", ["", "ai.onnx"])
def test_a_domain_spelled_out_on_every_node(imported: str, name: str) -> None:
    """ONNX Runtime takes it, the checker does not: that is no fault of any rewrite."""
    model = domain_spelled_out(PIECES[CHECKED[name].piece])
    model.opset_import[0].domain = imported
    for node in model.graph.node:
        node.domain = node.domain or "ai.onnx"
    report = graphopt.optimize(model, passes=[name]).report
    assert (report.status, report.left_out) == ("verified", [])
    assert report.rewrites()[name]


def fires_on(name: str) -> list[str]:
    """Models that the pass's docstring names; empty where it says it has none."""
    text = " ".join((inspect.getdoc(available()[name].load()) or "").split())
    found = re.search(r"Fires on: ([^.]+)\.", text)
    if found is None:
        assert "synthetic graphs only" in text, f"{name}: no line 'Fires on: ...' in its docstring"
        return []
    return [item.strip() for item in found.group(1).split(",")]


@cache
def exact(model: str) -> OptimizeResult:
    return graphopt.optimize(fetch(model), verify=False)


def times_on(name: str, model: str) -> int:
    """Rewrites on a model: within recipe `exact`, else alone, else behind the recipe.

    Some passes find something only where others were before, some only where they were not.
    """
    result = exact(model)
    count = result.report.rewrites().get(name, 0)
    for source in (fetch(model), result.model):
        if not count:
            alone = graphopt.optimize(source, passes=[name], verify=False)
            count = alone.report.rewrites()[name]
    return count


@pytest.mark.parametrize("name", PASSES)
def test_fires_on(name: str) -> None:
    known = {model.name for model in load_catalog()}
    for model in fires_on(name):
        assert model in known, f"{name} names {model!r}, which the catalogue does not have"
        assert times_on(name, model) > 0, f"{name} does nothing to {model}"


HASHES = """if True:
    import hashlib
    import graphopt
    from tests.passes.test_contract import HASHED, build
    for piece, situation, passes in HASHED:
        result = graphopt.optimize(build(piece, situation), passes=passes, verify=False)
        print(piece, situation, passes, hashlib.sha256(result.model.to_bytes()).hexdigest())
"""
HASHED: list[tuple[str, str, list[str] | None]] = [
    (piece, situation, None)
    for piece in WHOLE
    for situation in ("plain", "if branch, captured", "function", "two readers", "shared weights")
]
HASHED += [(where.piece, "plain", [name]) for name, where in CHECKED.items()]


def test_bytes_do_not_depend_on_the_hash_seed() -> None:
    printed = []
    for seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", HASHES],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        printed.append(done.stdout)
    assert printed[0].count("\n") == len(HASHED)
    assert printed[0] == printed[1]

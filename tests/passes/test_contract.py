"""What every registered pass promises.

A pass of a plug-in is covered without a word here; one of our own says where it must be quiet.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
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
from tests.passes import more_situations, situations
from tests.passes.contract_checks import check_declaration, check_situation
from tests.passes.more_situations import MORE_SITUATIONS
from tests.passes.situations import SITUATIONS
from tests.passes.support import agree, answers, random_feeds

PASSES = list(available())

QUIET: dict[str, set[str]] = {
    "fold_constants": {"overridable", "graph outputs"},
    "fuse_conv_batchnorm": {"overridable", "graph outputs", "two readers"},
    "deduplicate_initializers": {"overridable"},
    "eliminate_dead_nodes": set(),
    "eliminate_identity": {"graph outputs"},
}
"""Situations, beside "nothing to do", in which a pass must make no edit; in all others it must."""

MORE_QUIET: dict[str, set[str]] = {
    "fold_shapes": {"function"},
    "eliminate_noop": set(),
    "deduplicate_nodes": {"graph outputs"},
    "fuse_transposes": {"two readers"},
    "hoist_transposes": {"function", "graph outputs", "two readers"},
    "fuse_reshapes": {"function", "graph outputs", "two readers"},
    "fuse_pad_conv": {"function", "graph outputs", "two readers"},
    "fuse_gemm_batchnorm": {"graph outputs", "two readers", "shared weights", "overridable"},
    "fuse_conv_affine": {"graph outputs", "two readers", "overridable"},
    "fuse_affine_conv": {
        "function", "graph outputs", "two readers", "shared weights", "overridable",
    },
    "fuse_matmul_add": {"function", "graph outputs", "two readers", "overridable"},
}  # fmt: skip
"""The same for those that find their work in MORE_SITUATIONS. Shapes in functions are not known."""

PIECES = {"first": SITUATIONS, "more": MORE_SITUATIONS}
ALL = [(piece, situation) for piece, models in PIECES.items() for situation in models]


def model_for(name: str, situation: str) -> ModelProto:
    """The situation as the pass is checked in it: around a piece that it can do something with."""
    return (MORE_SITUATIONS if name in MORE_QUIET else SITUATIONS)[situation]()


@cache
def result_of(name: str, situation: str) -> OptimizeResult:
    return check_situation(make_pass(name, {}), model_for(name, situation))


def test_both_pieces_come_in_the_same_situations() -> None:
    assert list(MORE_SITUATIONS) == list(SITUATIONS)


@pytest.mark.parametrize(("piece", "situation"), ALL)
def test_the_situations_are_valid_models(piece: str, situation: str) -> None:
    onnx.checker.check_model(PIECES[piece][situation](), full_check=True)


@pytest.mark.parametrize("name", PASSES)
def test_declaration(name: str) -> None:
    entry = available()[name]
    instance = make_pass(name, {})
    check_declaration(instance)
    assert instance.name == name == entry.module.rpartition(".")[2]


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", PASSES)
def test_situation(name: str, situation: str) -> None:
    result_of(name, situation)


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", [*QUIET, *MORE_QUIET])
def test_edits_are_made_where_they_should_be(name: str, situation: str) -> None:
    quiet = {**QUIET, **MORE_QUIET}[name] | {"nothing to do"}
    assert result_of(name, situation).report.changed == (situation not in quiet)


def test_every_pass_of_the_recipe_is_spoken_for() -> None:
    """A lossless pass states where it does nothing: else it may be checked where it never does."""
    own = {name for name in PASSES if available()[name].distribution == "graphopt"}
    exact = {name for name in own if make_pass(name, {}).effect is not Effect.LOSSY}
    assert sorted([*QUIET, *MORE_QUIET]) == sorted(exact)


@pytest.mark.parametrize(("piece", "situation"), ALL)
def test_all_together(piece: str, situation: str) -> None:
    """The recipe `exact`: verified, no more nodes than before, and at a fixed point."""
    model = PIECES[piece][situation]()
    result = graphopt.optimize(model)
    report = result.report
    assert (report.status, report.left_out, report.warnings) == ("verified", [], ())
    assert report.after.nodes <= report.before.nodes
    assert report.changed == (situation != "nothing to do")
    assert not graphopt.optimize(result.model, verify=False).report.changed


@pytest.mark.parametrize("name", PASSES)
def test_weights_in_another_file(name: str, tmp_path: Path) -> None:
    source = save_model(
        load_model(model_for(name, "plain")), tmp_path / "m.onnx", SaveOptions(external_threshold=1)
    )
    before = source.read_bytes()
    result = graphopt.optimize(source, passes=[name])
    assert (result.report.status, result.report.left_out) == ("verified", [])
    target = graphopt.save(result, tmp_path / "out.onnx")
    assert source.read_bytes() == before
    agree(onnx.load(source), onnx.load(target))


SPELLED_OUT = [
    (situations.domain_spelled_out, QUIET),
    (more_situations.domain_spelled_out, MORE_QUIET),
]


@pytest.mark.parametrize(("build", "names"), SPELLED_OUT)
@pytest.mark.parametrize("imported", ["", "ai.onnx"])
def test_a_domain_spelled_out_on_every_node(
    imported: str, build: Callable[[], ModelProto], names: dict[str, set[str]]
) -> None:
    """ONNX Runtime takes it, the checker does not: that is no fault of any rewrite."""
    model = build()
    model.opset_import[0].domain = imported
    for node in model.graph.node:
        node.domain = "ai.onnx"
    report = graphopt.optimize(model).report
    assert (report.status, report.left_out) == ("verified", [])
    assert all(report.rewrites()[name] for name in names)


def fires_on(name: str) -> list[str]:
    """Models that the pass's docstring names; empty where it says it has none."""
    text = " ".join((inspect.getdoc(available()[name].load()) or "").split())
    found = re.search(r"Fires on: ([^.]+)\.", text)
    if found is None:
        assert "synthetic graphs only" in text, f"{name}: no line 'Fires on: ...' in its docstring"
        return []
    return [item.strip() for item in found.group(1).split(",")]


@pytest.mark.parametrize("name", PASSES)
def test_fires_on(name: str) -> None:
    """Alone, or within recipe `exact`: some find something only behind others."""
    known = {model.name for model in load_catalog()}
    for model in fires_on(name):
        assert model in known, f"{name} names {model!r}, which the catalogue does not have"
        path = fetch(model)
        alone = graphopt.optimize(path, passes=[name], verify=False).report.rewrites()[name]
        count = alone or graphopt.optimize(path, verify=False).report.rewrites().get(name, 0)
        assert count > 0, f"{name} does nothing to {model}"


HASHES = """if True:
    import hashlib
    import graphopt
    from tests.passes.more_situations import MORE_SITUATIONS
    from tests.passes.situations import SITUATIONS
    for name, build in [*SITUATIONS.items(), *MORE_SITUATIONS.items()]:
        result = graphopt.optimize(build(), verify=False)
        print(name, hashlib.sha256(result.model.to_bytes()).hexdigest())
"""


def test_bytes_do_not_depend_on_the_hash_seed() -> None:
    printed = []
    for seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", HASHES],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        printed.append(done.stdout)
    assert printed[0].count("\n") == len(ALL)
    assert printed[0] == printed[1]


@pytest.mark.parametrize(("piece", "situation"), ALL)
def test_the_situations_move(piece: str, situation: str) -> None:
    """Their outputs vary over the inputs: a constant one would prove nothing."""
    model = PIECES[piece][situation]()
    first, second = (answers(model, random_feeds(model, s), reference=False) for s in (0, 2))
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))

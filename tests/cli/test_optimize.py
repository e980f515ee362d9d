from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import engine
from graphopt.engine import OptimizeResult
from graphopt.report import LeftOut
from tests.cli.conftest import Done, Run, is_error, node_ops


def files(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_writes_the_result_and_prints_the_report(run: Run, model: Path) -> None:
    before = model.read_bytes()
    done = run("optimize", "model.onnx", "-o", "out.onnx")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("model.onnx: verified; recipe exact")
    assert "-> out.onnx" in done.out.splitlines()[0]
    assert node_ops(Path("out.onnx")) == ["MatMul", "Relu"]
    assert model.read_bytes() == before
    assert files(model.parent) == {"model.onnx", "out.onnx"}


def test_unchanged_model_is_written_as_its_own_bytes(run: Run, model: Path) -> None:
    run("optimize", model, "-o", "once.onnx")
    done = run("optimize", "once.onnx", "-o", "twice.onnx")
    assert done.code == 0
    assert "nothing to change" in done.out.splitlines()[0]
    assert Path("once.onnx").read_bytes() == Path("twice.onnx").read_bytes()


def test_json_is_all_there_is_on_stdout(run: Run, model: Path) -> None:
    done = run("optimize", model, "-o", "out.onnx", "--json", "-v")
    report = json.loads(done.out)
    assert (done.code, report["status"], report["changed"]) == (0, "verified", True)
    assert report["output"] == "out.onnx"
    assert report["after"]["nodes"] == 2
    assert "graphopt: fold_constants, round 1" in done.err


def test_quiet(run: Run, model: Path) -> None:
    assert run("optimize", model, "-o", "out.onnx", "--quiet") == Done(0, "", "")
    assert Path("out.onnx").exists()


def test_quiet_still_says_why_it_failed(run: Run, unverifiable: Path) -> None:
    done = run("optimize", unverifiable, "-o", "out.onnx", "-q")
    assert is_error(done, 1, str(unverifiable), "unverified")


def test_verbose_tells_what_is_done(run: Run, model: Path) -> None:
    done = run("optimize", model, "-o", "out.onnx", "-v")
    assert "graphopt: eliminate_identity, round 1" in done.complaint
    assert "  y: ok" in done.out


def test_dry_run_writes_nothing(run: Run, model: Path) -> None:
    before = model.stat().st_mtime_ns
    done = run("optimize", model, "--dry-run")
    assert done.code == 0
    assert "->" not in done.out.splitlines()[0]
    assert run("optimize", model, "-o", "out.onnx", "--dry-run").code == 0
    assert files(model.parent) == {"model.onnx"}
    assert model.stat().st_mtime_ns == before


def test_in_place(run: Run, model: Path) -> None:
    assert run("optimize", model, "--in-place").code == 0
    assert node_ops(model) == ["MatMul", "Relu"]
    assert files(model.parent) == {"model.onnx"}


def test_in_place_and_output_exclude_each_other(run: Run, model: Path) -> None:
    assert is_error(run("optimize", model, "--in-place", "-o", "out.onnx"), 2, "exclude")


@pytest.mark.parametrize("output", ["model.onnx", "./model.onnx", "link.onnx", "hard.onnx"])
def test_output_that_is_the_input_is_refused(run: Run, model: Path, output: str) -> None:
    Path("link.onnx").symlink_to(model)
    os.link(model, "hard.onnx")
    before = model.read_bytes()
    done = run("optimize", "model.onnx", "-o", output)
    assert is_error(done, 2, "the output is the input", "--in-place")
    assert model.read_bytes() == before


def test_no_output(run: Run, model: Path) -> None:
    assert is_error(run("optimize", model), 2, "no output", "give -o OUT")


def test_unverified_is_not_written(run: Run, unverifiable: Path) -> None:
    done = run("optimize", unverifiable, "-o", "out.onnx")
    assert done.code == 1
    first = done.out.splitlines()[0]
    assert first.startswith(f"{unverifiable}: UNVERIFIED (the original does not run")
    assert files(unverifiable.parent) == {"odd.onnx"}


def test_unverified_in_place_leaves_the_model(run: Run, unverifiable: Path) -> None:
    before = unverifiable.read_bytes()
    assert run("optimize", unverifiable, "--in-place").code == 1
    assert unverifiable.read_bytes() == before


def test_allow_unverified(run: Run, unverifiable: Path) -> None:
    done = run("optimize", unverifiable, "-o", "out.onnx", "--allow-unverified")
    assert done.code == 0
    assert "UNVERIFIED" in done.out.splitlines()[0]
    assert node_ops(Path("out.onnx")) == ["Reshape"]


def test_input_shape_mends_it_and_never_changes_the_model(run: Run, unverifiable: Path) -> None:
    done = run("optimize", unverifiable, "-o", "out.onnx", "--input-shape", "x:1,20014")
    assert done.code == 0
    assert "verified" in done.out.splitlines()[0]
    before, after = onnx.load(unverifiable), onnx.load("out.onnx")
    assert after.graph.input == before.graph.input


def test_data_mends_it(run: Run, unverifiable: Path) -> None:
    np.savez("data.npz", x=np.zeros((1, 10007), np.float32))
    done = run("optimize", unverifiable, "-o", "out.onnx", "--data", "data.npz")
    assert "1 given input sets" in done.out or "1 given input set" in done.out


def test_no_verify(run: Run, model: Path) -> None:
    done = run("optimize", model, "-o", "out.onnx", "--no-verify")
    assert done.code == 0
    assert "UNVERIFIED (verification was switched off; it loads)" in done.out.splitlines()[0]
    assert node_ops(Path("out.onnx")) == ["MatMul", "Relu"]


def test_verify_limit(run: Run, model: Path) -> None:
    done = run("optimize", model, "-o", "out.onnx", "--verify-limit", "0")
    assert (done.code, Path("out.onnx").exists()) == (1, False)
    assert "exceed the verification limit" in done.out.splitlines()[0]
    assert run("optimize", model, "-o", "out.onnx", "--verify-limit", "0.5").code == 0


def test_several_reports(run: Run, model: Path) -> None:
    arguments = ["--report", "a.json", "--report", "b.md", "--report", "c.json"]
    done = run("optimize", model, "-o", "out.onnx", *arguments)
    assert done.code == 0
    report = json.loads(Path("a.json").read_text())
    assert report["output"] == "out.onnx"
    assert json.loads(Path("c.json").read_text()) == report
    assert Path("b.md").read_text().startswith(f"# {model}: verified")
    assert files(model.parent) == {"model.onnx", "out.onnx", "a.json", "b.md", "c.json"}


def test_report_of_an_unverified_run_is_written(run: Run, unverifiable: Path) -> None:
    assert run("optimize", unverifiable, "-o", "out.onnx", "--report", "r.json").code == 1
    report = json.loads(Path("r.json").read_text())
    assert (report["status"], report["output"]) == ("unverified", None)


def test_report_suffix_is_checked_before_the_work(run: Run, model: Path) -> None:
    done = run("optimize", model, "-o", "out.onnx", "--report", "report.txt")
    assert is_error(done, 2, "report.txt", "use .json, .md or .xml")
    assert files(model.parent) == {"model.onnx"}


def test_pass_alone_replaces_the_recipe(run: Run, model: Path) -> None:
    done = run("optimize", model, "-o", "out.onnx", "--pass", "fold_constants", "--json")
    report = json.loads(done.out)
    assert [p["name"] for stage in report["stages"] for p in stage["passes"]] == ["fold_constants"]
    assert node_ops(Path("out.onnx")) == ["Identity", "MatMul", "Relu"]


def test_pass_after_a_recipe_is_appended(run: Run, model: Path) -> None:
    arguments = ["--pass", "fuse-conv-batchnorm", "--recipe", "identical", "--json"]
    report = json.loads(run("optimize", model, "-o", "out.onnx", *arguments).out)
    assert len(report["stages"]) == 2
    assert [p["name"] for p in report["stages"][1]["passes"]] == ["fuse_conv_batchnorm"]


def test_recipe_file(run: Run, model: Path) -> None:
    Path("mine.toml").write_text('[[stage]]\n[[stage.pass]]\nname = "eliminate_identity"\n')
    done = run("optimize", model, "-o", "out.onnx", "--recipe", "mine.toml", "--json")
    assert json.loads(done.out)["recipe"] == "mine"


def test_strict_fails_when_a_rewrite_was_left_out(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = engine.optimize_model

    def leaving_one_out(*arguments: Any) -> OptimizeResult:
        result = honest(*arguments)
        item = LeftOut("eliminate_identity", "t", "Identity -> t", 0, "y: differs")
        stages = (dataclasses.replace(result.report.stages[0], left_out=(item,)),)
        return dataclasses.replace(result, report=dataclasses.replace(result.report, stages=stages))

    monkeypatch.setattr(engine, "optimize_model", leaving_one_out)
    assert run("optimize", model, "-o", "lenient.onnx").code == 0
    assert run("optimize", model, "-o", "strict.onnx", "--strict").code == 1
    assert files(model.parent) == {"model.onnx", "lenient.onnx"}


def test_seed_changes_nothing_but_the_inputs(run: Run, model: Path) -> None:
    for seed in (0, 1):
        assert run("optimize", model, "-o", f"{seed}.onnx", "--seed", seed).code == 0
    assert Path("0.onnx").read_bytes() == Path("1.onnx").read_bytes()


def test_opset_is_raised_where_asked_for(run: Run, model: Path) -> None:
    done = run("optimize", model, "-o", "out.onnx", "--opset", "21")
    assert (done.code, done.err) == (0, "")
    assert onnx.load("out.onnx").opset_import[0].version == 21
    assert node_ops(Path("out.onnx")) == ["MatMul", "Relu"]
    assert run("compare", model, "out.onnx").code == 0


@pytest.mark.parametrize("arguments", [[], ["--opset", "17"], ["--opset", "auto"]])
def test_opset_stays_where_nothing_asks_for_more(
    run: Run, model: Path, arguments: list[str]
) -> None:
    assert run("optimize", model, "-o", "out.onnx", *arguments).code == 0
    before, after = onnx.load(model), onnx.load("out.onnx")
    assert after.opset_import == before.opset_import
    assert after.ir_version == before.ir_version

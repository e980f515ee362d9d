from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml

from graphopt.cli.batch import WORST_FIRST, worst
from graphopt.errors import ExitCode
from models.fetch import fetch
from tests.build import few, parse
from tests.cli.conftest import MODEL, Run, W, heed_interrupts, is_error, node_ops
from tests.engine.third_party import install, pass_source

OPTIMIZED = ["MatMul", "Relu"]


@pytest.fixture
def folder(model: Path, unverifiable: Path) -> Path:
    """A folder of four: two that work, one that cannot be verified, one that is no model."""
    root = model.parent / "in"
    (root / "sub").mkdir(parents=True)
    for name in ("a.onnx", "sub/b.onnx"):
        shutil.copy(model, root / name)
    shutil.move(unverifiable, root / "odd.onnx")
    (root / "sub/broken.onnx").write_bytes(b"no model")
    return root


def below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


codes = st.lists(st.sampled_from([code for code in ExitCode if code != ExitCode.INTERRUPTED]))


@given(codes, codes)
@few
def test_worst(one: list[ExitCode], two: list[ExitCode]) -> None:
    """The code of all is one of theirs (0 for none), and it is the worse of two halves'."""
    both = worst([*one, *two])
    assert both == worst([*two, *one]) == worst([worst(one), worst(two)])
    assert both in [*one, *two, ExitCode.DONE]
    assert (both == ExitCode.DONE) == all(code == ExitCode.DONE for code in [*one, *two])


def test_order_of_codes() -> None:
    assert [int(code) for code in WORST_FIRST] == [2, 3, 4, 1, 5, 0]
    for one, two in product(WORST_FIRST, repeat=2):
        assert worst([one, two]) == min(one, two, key=WORST_FIRST.index)


def test_files_into_a_folder(run: Run, model: Path) -> None:
    shutil.copy(model, "b.onnx")
    done = run("optimize", "model.onnx", "b.onnx", "-o", "new/out")
    assert (done.code, done.err) == (0, "")
    assert below(Path("new")) == {"out/model.onnx", "out/b.onnx"}
    assert node_ops(Path("new/out/b.onnx")) == OPTIMIZED
    head, first, second, total = done.out.splitlines()
    assert head.split() == ["model", "nodes", "bytes", "ratio", "status", "seconds"]
    assert first.startswith("model.onnx")
    assert "3 -> 2" in first
    assert " verified " in first
    assert second.startswith("b.onnx")
    assert total.startswith("2 models, 2 done; ")
    assert "exit code" not in total


def test_one_failure_stops_no_other(run: Run, folder: Path) -> None:
    done = run("optimize", "in", "-o", "out/")
    assert done.code == 3
    assert below(Path("out")) == {"a.onnx", "sub/b.onnx"}
    assert [line for line in done.complaint if "error: " in line] == [
        "graphopt: error: in/odd.onnx: unverified; nothing was written",
        "graphopt: error: in/sub/broken.onnx: is not an ONNX model, or is damaged "
        "(protobuf does not parse)",
    ]
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert "UNVERIFIED, not written: unverified" in rows["in/odd.onnx"]
    assert rows["in/sub/broken.onnx"].split() == ["in/sub/broken.onnx", "error"]
    assert "4 models, 2 done, 2 not" in done.out
    assert done.out.endswith("; exit code 3\n")


def test_the_code_is_the_worst(run: Run, folder: Path) -> None:
    (folder / "sub/broken.onnx").unlink()
    assert run("optimize", "in", "-o", "out").code == 1
    assert run("optimize", "in", "-o", "out", "--allow-unverified").code == 0
    assert below(Path("out")) == {"a.onnx", "odd.onnx", "sub/b.onnx"}
    assert run("optimize", "in", "-o", "out", "--keep-output", "w").code == 2
    assert run("optimize", "in", "none.onnx", "-o", "out").code == 3


def test_in_place(run: Run, folder: Path) -> None:
    before = {name: (folder / name).read_bytes() for name in below(folder)}
    assert run("optimize", "in", "--in-place", "-q").code == 3
    after = {name: (folder / name).read_bytes() for name in below(folder)}
    changed = {name for name, content in after.items() if before[name] != content}
    assert (before.keys(), changed) == (after.keys(), {"a.onnx", "sub/b.onnx"})


def test_dry_run(run: Run, folder: Path) -> None:
    before = below(folder.parent)
    done = run("optimize", "in", "--dry-run")
    assert "3 -> 2" in done.out
    assert below(folder.parent) == before


def test_nothing_runs_where_two_results_would_be_one_file(run: Run, model: Path) -> None:
    Path("x").mkdir()
    shutil.copy(model, "x/model.onnx")
    done = run("optimize", "model.onnx", "x/model.onnx", "-o", "out")
    assert is_error(done, 2, "model.onnx and x/model.onnx would both be written to out/model.onnx")
    assert not Path("out").exists()


def test_a_folder_without_models(run: Run, tmp_path: Path) -> None:
    Path("empty").mkdir()
    assert is_error(run("optimize", "empty", "-o", "out"), 3, "empty: holds no .onnx file")


def test_mistakes_of_the_call_are_said_once(run: Run, folder: Path) -> None:
    for mistake in (["--recipe", "exakt"], ["--require", "x"], ["--report", "r.txt"]):
        assert is_error(run("optimize", "in", "-o", "out", *mistake), 2)


def test_links_that_lead_out_are_named(run: Run, folder: Path, model: Path) -> None:
    (folder / "far.onnx").symlink_to(model)
    done = run("optimize", "in", "-o", "out")
    note = "graphopt: note: in/far.onnx: passed over, a link that leads out of the folder"
    assert done.complaint[0] == note
    assert "far.onnx" not in done.out
    assert note not in run("optimize", "in", "-o", "out", "-q").err


def test_json(run: Run, folder: Path) -> None:
    done = run("optimize", "in", "-o", "out", "--json", "--report", "r.json")
    found = json.loads(done.out)
    assert (found["schema"], found["exit_code"], done.code) == (1, 3, 3)
    assert [(item["model"], item["exit_code"], item["error"]) for item in found["models"]] == [
        ("in/a.onnx", 0, None),
        ("in/odd.onnx", 1, "unverified"),
        ("in/sub/b.onnx", 0, None),
        (
            "in/sub/broken.onnx",
            3,
            "in/sub/broken.onnx: is not an ONNX model, or is damaged (protobuf does not parse)",
        ),
    ]
    reports = [item["report"] for item in found["models"]]
    assert [report and report["output"] for report in reports] == [
        "out/a.onnx",
        None,
        "out/sub/b.onnx",
        None,
    ]
    assert json.loads(Path("r.json").read_text()) == found


def test_reports(run: Run, folder: Path) -> None:
    run("optimize", "in", "-o", "out", "--report", "r.md", "--report", "r.xml")
    text = Path("r.md").read_text()
    assert text.startswith("| model | nodes |")
    assert [line for line in text.splitlines() if line.startswith("# ")] == [
        "# in/a.onnx: verified",
        "# in/odd.onnx: unverified",
        "# in/sub/b.onnx: verified",
    ]
    assert "- error: in/sub/broken.onnx: is not an ONNX model" in text
    suites = {suite.name: suite for suite in JUnitXml.fromstring(Path("r.xml").read_bytes())}
    assert {name: (suite.failures, suite.errors) for name, suite in suites.items()} == {
        "in/a.onnx": (0, 0),
        "in/odd.onnx": (1, 0),
        "in/sub/b.onnx": (0, 0),
        "in/sub/broken.onnx": (0, 1),
    }


def test_verbose_shows_every_report(run: Run, folder: Path) -> None:
    done = run("optimize", "in", "-o", "out", "-v")
    assert "in/a.onnx: verified; recipe exact" in done.out
    assert "  y: ok" in done.out
    assert "graphopt: 1/4 in/a.onnx: eliminate_identity, round 1" in done.complaint
    assert "Traceback (most recent call last)" in done.err


def test_a_defect_is_a_failure_of_one_model(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(path: Path, **options: object) -> object:
        if path.name == "a.onnx":
            raise RuntimeError("no\nluck")
        raise MemoryError

    monkeypatch.setattr("graphopt.model.load_model", explode)
    done = run("optimize", "in", "-o", "out")
    assert done.code == 3
    assert "graphopt: internal error: in/a.onnx: RuntimeError: no luck" in done.complaint
    assert "graphopt: error: in/odd.onnx: out of memory" in done.complaint
    assert not Path("out").exists()


def test_interrupt_stops_all(tmp_path: Path) -> None:
    source = pass_source("wait_long").replace(
        "return ()", "print('here', flush=True); import time; time.sleep(60); return ()"
    )
    install(tmp_path / "site", "acme", "acme_passes", {"wait_long.py": source})
    for name in ("a.onnx", "b.onnx"):
        onnx.save(parse(MODEL, w=W), tmp_path / name)
    process = subprocess.Popen(
        [sys.executable, "-m", "graphopt", "optimize", "a.onnx", "b.onnx", "-o", "out",
         "--pass", "wait_long", "--report", "r.json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "TMPDIR": str(tmp_path)},
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out, [line for line in err.splitlines() if line]) == ("", ["graphopt: interrupted"])
    assert {p.name for p in tmp_path.iterdir()} == {"a.onnx", "b.onnx", "site"}


def test_real_models(run: Run, tmp_path: Path) -> None:
    names = ("resnet_20", "mixnet", "lenet_5")
    done = run("optimize", *map(fetch, names), "-o", "out", "--require", "nodes_ratio <= 0.8")
    assert done.code == 1
    assert below(Path("out")) == {"resnet_20.onnx", "mixnet.onnx"}
    (line,) = done.complaint
    assert "lenet_5.onnx: requirement 'nodes_ratio <= 0.8' is not met: nodes_ratio is 1;" in line
    assert "3 models, 2 done, 1 not" in done.out

"""What a user can ask of `graphopt optimize` beside a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.engine.registry import available
from models.fetch import fetch
from tests.build import parse
from tests.cli.conftest import Run, node_ops
from tests.engine.third_party import install

HALVE = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.contract import Effect, Rewrite, Skip


@dataclass(frozen=True)
class HalvePrecision:
    """Rounds each initializer to float16; one that holds too few elements is left alone.

    Tested on synthetic graphs only.
    """

    name: ClassVar[str] = "halve_precision"
    effect: ClassVar[Effect] = Effect.LOSSY

    min_elements: int = 0
    loads: bool = True

    def plan(self, graph, context):
        for value in graph.initializers:
            rounded = value.array().astype(np.float16).astype(value.dtype)
            if rounded.size < self.min_elements:
                yield Skip("too few elements")
            elif value.readers and rounded.tobytes() != value.array().tobytes():
                yield Rewrite(value.label(), Effect.LOSSY, self._rounding(value, rounded))

    def _rounding(self, value, rounded):
        def apply(edit):
            new = edit.constant(rounded, value.name, value.graph)
            if not self.loads:
                node = value.readers[0].node
                wide = edit.insert("Cast", [new], before=node, attributes={"to": 11})
                none = edit.insert("Acos", wide.outputs, before=node)
                back = edit.insert("Cast", none.outputs, before=node, attributes={"to": 1})
                new = back.outputs[0]
            edit.replace(value, new)
        return apply
'''


@pytest.fixture
def halve_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A lossy pass of a third party."""
    install(tmp_path / "site", "acme", "acme_halve", {"halve_precision.py": HALVE})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    available.cache_clear()
    yield
    available.cache_clear()


def optimized(*arguments: object) -> tuple[object, ...]:
    return ("optimize", "model.onnx", "-o", "out.onnx", *arguments)


@pytest.mark.parametrize("pattern", ["t", "Identity*", "Identity -> t"])
def test_excluded_nodes_stay(run: Run, model: Path, pattern: str) -> None:
    done = run(*optimized("--exclude-node", pattern))
    assert (done.code, done.err) == (0, "")
    assert node_ops(Path("out.onnx")) == ["Identity", "MatMul", "Relu"]
    assert "nodes left alone: Identity -> t\n" in done.out


@pytest.mark.parametrize(
    ("patterns", "left"),
    [([], 0), (["/0/0.0/0.0.1/BatchNormalization"], 1), (["BatchNormalization *", "/0/*"], 23)],
)
def test_excluded_nodes_of_a_real_model(run: Run, patterns: list[str], left: int) -> None:
    asked = [item for pattern in patterns for item in ("--exclude-node", pattern)]
    done = run("optimize", fetch("resnet_20"), "-o", "out.onnx", "--json", *asked)
    report = json.loads(done.out)
    assert (done.code, report["status"]) == (0, "verified")
    names = [f"{node.op_type} {node.name}" for node in onnx.load("out.onnx").graph.node]
    assert len(report["excluded"]) == left
    assert set(report["excluded"]) <= set(names)
    assert any("BatchNormalization /0/0.0/" in name for name in names) == bool(left)


def test_kept_outputs(run: Run) -> None:
    text = """g (float[N,4] x) => (float[N,4] y, float[N,4] z) {
        y = Relu(x)
        a = Mul(x, w)
        z = Softmax(a)
    }"""
    onnx.save(parse(text, w=np.full(4, 0.5, np.float32)), "model.onnx")
    done = run(*optimized("--keep-output", "y", "--report", "r.md"))
    assert (done.code, done.err) == (0, "")
    assert "outputs dropped: z\n" in done.out
    assert "outputs dropped: z\n" in Path("r.md").read_text()
    result = onnx.load("out.onnx")
    assert [info.name for info in result.graph.output] == ["y"]
    assert node_ops(Path("out.onnx")) == ["Relu"]
    assert not result.graph.initializer


def test_kept_outputs_of_a_real_model(run: Run) -> None:
    path = fetch("silero_vad")
    first, *others = (info.name for info in onnx.load(path).graph.output)
    done = run("optimize", path, "-o", "out.onnx", "--json", "--keep-output", first)
    report = json.loads(done.out)
    assert (done.code, report["status"], report["dropped_outputs"]) == (0, "verified", others)
    assert [info.name for info in onnx.load("out.onnx").graph.output] == [first]


def test_a_change_is_there(run: Run, model: Path) -> None:
    assert run(*optimized("--require-change")).code == 0


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_no_change_writes_nothing_where_one_is_required(
    run: Run, model: Path, quiet: list[str]
) -> None:
    done = run(*optimized("--pass", "fuse_conv_batchnorm", "--require-change", *quiet))
    assert (done.code, Path("out.onnx").exists()) == (1, False)
    assert done.complaint[0] == (
        "graphopt: error: model.onnx: nothing was changed; nothing was written"
    )
    assert len(done.complaint) == 2
    assert bool(done.out) != bool(quiet)


@pytest.mark.usefixtures("halve_precision")
def test_a_lossy_pass_that_changed_nothing(run: Run, model: Path) -> None:
    lossy = ["--recipe", "exact", "--pass", "halve_precision:min_elements=100"]
    why = "halve_precision changed nothing: 1 x too few elements"
    done = run(*optimized(*lossy))
    assert (done.code, done.err) == (0, "")
    assert f"warning: {why}\n" in done.out
    Path("out.onnx").unlink()
    done = run(*optimized(*lossy, "--require-change"))
    assert (done.code, Path("out.onnx").exists()) == (1, False)
    assert done.complaint[0] == f"graphopt: error: model.onnx: {why}; nothing was written"


@pytest.mark.usefixtures("halve_precision")
def test_a_lossy_pass_that_changed_something(run: Run, model: Path) -> None:
    done = run(*optimized("--pass", "halve_precision", "--require-change"))
    assert (done.code, done.err) == (0, "")
    assert "warning" not in done.out
    assert "loss (optimisations all): " in done.out


@pytest.mark.usefixtures("halve_precision")
@pytest.mark.parametrize("arguments", [[], ["--no-verify"], ["--no-verify", "--allow-unverified"]])
def test_what_does_not_load_is_never_written(run: Run, model: Path, arguments: list[str]) -> None:
    """Acos of float64, which ONNX Runtime lacks: valid ONNX, and nothing that it can run."""
    done = run(*optimized("--pass", "halve_precision:loads=no", *arguments))
    if arguments:
        assert (done.code, Path("out.onnx").exists()) == (1, False)
        assert "FAILED" in done.out.splitlines()[0]
        assert "loads: failed the original loads, the result does not" in done.out
        assert "failed verification" in done.complaint[0]
    else:  # found, and left out
        assert node_ops(Path("out.onnx")) == node_ops(model)
        assert "left out: halve_precision" in done.out


@pytest.mark.parametrize(
    ("conditions", "code", "words"),
    [
        (["nodes_ratio <= 0.7"], 0, []),
        (["nodes_ratio<0.6"], 1, ["'nodes_ratio < 0.6' is not met: nodes_ratio is 0.666667"]),
        (["nodes_ratio <= 0.9", "size_ratio > 2"], 1, ["'size_ratio > 2' is not met"]),
        (["snr_db >= 40"], 0, []),
    ],
)
def test_requirements(
    run: Run, model: Path, conditions: list[str], code: int, words: list[str]
) -> None:
    arguments = [item for text in conditions for item in ("--require", text)]
    done = run(*optimized(*arguments, "--report", "r.json", "--report", "r.xml"))
    assert (done.code, Path("out.onnx").exists()) == (code, code == 0)
    assert len(done.complaint) == len(words)
    for word in words:
        assert word in done.complaint[0]
        assert done.complaint[0].endswith("; nothing was written")
    report = json.loads(Path("r.json").read_text())
    assert [item["met"] for item in report["requirements"]].count(False) == len(words)
    assert (report["output"] is None) == bool(words)
    assert ("<failure" in Path("r.xml").read_text()) == bool(words)


def test_what_cannot_be_measured_is_not_met(run: Run, model: Path) -> None:
    done = run(*optimized("--require", "snr_db >= 40", "--no-verify"))
    assert (done.code, Path("out.onnx").exists()) == (1, False)
    assert "requirement 'snr_db >= 40' cannot be measured: " in done.complaint[0]


def test_a_requirement_of_a_real_model(run: Run) -> None:
    resnet = fetch("resnet_20")
    for limit, code in ((0.75, 0), (0.5, 1)):
        done = run("optimize", resnet, "-o", f"{code}.onnx", "--require", f"nodes_ratio <= {limit}")
        assert (done.code, Path(f"{code}.onnx").exists()) == (code, code == 0)


def test_provenance(run: Run, model: Path) -> None:
    assert run(*optimized("--provenance")).code == 0
    first = Path("out.onnx").read_bytes()
    assert run(*optimized("--provenance")).code == 0
    assert Path("out.onnx").read_bytes() == first
    written = {entry.key: entry.value for entry in onnx.load("out.onnx").metadata_props}
    assert {"graphopt.version", "graphopt.recipe", "graphopt.recipe_digest"} <= written.keys()
    assert written["graphopt.recipe"] == "exact"


def test_provenance_of_an_unchanged_model(run: Run, model: Path) -> None:
    run(*optimized())
    done = run("optimize", "out.onnx", "-o", "signed.onnx", "--provenance")
    assert "nothing to change" in done.out.splitlines()[0]
    signed = onnx.load("signed.onnx")
    assert any(entry.key == "graphopt.source_sha256" for entry in signed.metadata_props)
    del signed.metadata_props[:]
    assert signed == onnx.load("out.onnx")
    done = run("optimize", "out.onnx", "-o", "no.onnx", "--provenance", "--require-change")
    assert (done.code, Path("no.onnx").exists()) == (1, False)


@pytest.mark.parametrize("output", ["out", "out/", "out/new/.."])
def test_one_model_into_a_folder(run: Run, model: Path, output: str) -> None:
    if output != "out/":
        Path("out/new").mkdir(parents=True)
    done = run("optimize", "model.onnx", "-o", output)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].endswith("/model.onnx")
    assert node_ops(Path("out/model.onnx")) == ["MatMul", "Relu"]

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.cli.convert import parse_dims, parse_threshold
from graphopt.errors import UsageError
from graphopt.graph.declared import dims_of
from models.fetch import fetch
from tests.build import parse
from tests.cli.conftest import Run, is_error, node_ops


def shapes(path: Path) -> list[object]:
    graph = onnx.load(path, load_external_data=False).graph
    return [dims_of(info.type) for info in [*graph.input, *graph.output]]


def test_fixing_a_named_dimension(run: Run, model: Path) -> None:
    done = run("convert", model, "-o", "out.onnx", "--fix-dim", "N=2")
    assert done.code == 0
    assert done.out.splitlines()[1:3] == ["  input x [N,4] -> [2,4]", "  output y [N,3] -> [2,3]"]
    assert shapes(model.parent / "out.onnx") == [(2, 4), (2, 3)]


def test_fixing_a_shape_and_opening_it_again(run: Run, model: Path) -> None:
    assert run("convert", model, "-o", "one.onnx", "--fix-shape", "x:1,4").code == 0
    assert shapes(model.parent / "one.onnx") == [(1, 4), (1, 3)]
    done = run("convert", "one.onnx", "-o", "any.onnx", "--dynamic-batch")
    assert done.code == 0
    assert shapes(model.parent / "any.onnx") == [("batch", 4), ("batch", 3)]


def test_functions_and_opset(run: Run, tmp_path: Path) -> None:
    proto = parse("""<ir_version: 8, opset_import: ["": 12, "local": 1]>
        g (float[2,3] x) => (float[2,3] y) { y = local.f(x) }
        <domain: "local", opset_import: ["": 12]> f (v) => (r) { r = Softmax <axis = 1> (v) }""")
    onnx.save(proto, tmp_path / "m.onnx")
    refused = run("convert", "m.onnx", "-o", "out.onnx", "--opset", 17)
    assert is_error(refused, 3, "it has local functions", "inline them")
    done = run("convert", "m.onnx", "-o", "out.onnx", "--opset", 17, "--inline-functions")
    assert done.code == 0, done
    assert "Softmax" in node_ops(tmp_path / "out.onnx")
    assert onnx.load(tmp_path / "out.onnx").opset_import[0].version == 17


def test_weights_out_and_in_again(run: Run, tmp_path: Path) -> None:
    weight = np.arange(4096, dtype=np.float32).reshape(4, 1024)
    text = "g (float[N,4] x) => (float[N,1024] y) { y = MatMul(x, w) }"
    onnx.save(parse(text, w=weight), tmp_path / "m.onnx")
    assert run("convert", "m.onnx", "-o", "out.onnx", "--external-data", "1K").code == 0
    (data,) = tmp_path.glob("out.onnx.*.data")
    assert data.read_bytes() == weight.tobytes()
    assert (tmp_path / "out.onnx").stat().st_size < 1000
    done = run("convert", "out.onnx", "-o", "in.onnx", "--external-data", "inside")
    assert done.code == 0
    assert not [*tmp_path.glob("in.onnx.*")]
    kept = onnx.load(tmp_path / "in.onnx", load_external_data=False).graph.initializer[0]
    assert kept.raw_data == weight.tobytes()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, ["nothing to convert", "--opset"]),
        (["--opset", "9"], 2, ["opset 9 is below the model's own 17"]),
        (["--opset", "900"], 2, ["opset 900 is unknown"]),
        (["--opset", "new"], 2, ["--opset"]),
        (["--fix-dim", "M=2"], 2, ["no input has a dimension 'M'", "known: N"]),
        (["--fix-dim", "N"], 2, ["--fix-dim 'N' is not NAME=N"]),
        (["--fix-dim", "N=0"], 2, ["dimension 'N' cannot be 0"]),
        (["--fix-dim", "N=1", "--fix-dim", "N=2"], 2, ["N is given as both 1 and 2"]),
        (["--fix-shape", "x:2"], 2, ["input 'x' has 2 dimensions, 1 are given", "[N,4]"]),
        (["--fix-shape", "x:2,5"], 2, ["dimension 1 of input 'x' is fixed at 4, not 5"]),
        (["--fix-shape", "z:2,5"], 2, ["'z' is no input of the model", "known: x"]),
        (["--fix-shape", "2,5"], 2, ["--fix-shape '2,5' is not NAME:d,d,..."]),
        (["--external-data", "many"], 2, ["--external-data 'many' is no number of bytes"]),
        (["--fix-dim", "N=2", "--input-shape", "x:3,4"], 2, ["input 'x' is [2,4]", "[3,4]"]),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    run: Run, model: Path, options: list[str], code: int, words: list[str]
) -> None:
    done = run("convert", model, "-o", "out.onnx", *options)
    assert is_error(done, code, *words)
    assert not (model.parent / "out.onnx").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1024", 1024), ("2K", 2048), ("2k", 2048), ("3M", 3 << 20), ("1G", 1 << 30),
     ("inside", "inside"), ("None", "inside"), (None, None)],
)  # fmt: skip
def test_thresholds(text: str | None, value: object) -> None:
    assert parse_threshold(text) == value


@pytest.mark.parametrize("text", ["", "K", "-1", "1.5M", "1T", "²", "1 M", "1MB"])
def test_thresholds_that_mean_nothing(text: str) -> None:
    with pytest.raises(UsageError):
        parse_threshold(text)


def test_dimensions_may_have_signs_in_their_names() -> None:
    assert parse_dims(["a=b=2", "p2o.Dim:0=3"]) == {"a=b": 2, "p2o.Dim:0": 3}
    with pytest.raises(UsageError):
        parse_dims(["=2"])


def test_the_voice_detector(run: Run, tmp_path: Path) -> None:
    path = fetch("silero_vad")  # a recurrent network in the bodies of If nodes
    fixing = ["--fix-shape", "input:1,512", "--fix-shape", "state:2,1,128"]
    done = run("convert", path, "-o", "out.onnx", "--opset", 18, *fixing)
    assert done.code == 0, done
    assert shapes(tmp_path / "out.onnx")[:2] == [(1, 512), (2, 1, 128)]
    done = run("convert", path, "-o", "none.onnx", "--dynamic-batch")
    assert is_error(done, 2, "the inputs disagree about the batch", "'state' has 2")


def test_the_text_reader(run: Run, tmp_path: Path) -> None:
    path = fetch("ppocr_rec")
    done = run("convert", path, "-o", "out.onnx", "--fix-shape", "x:1,3,48,96")
    assert done.code == 0, done
    assert shapes(tmp_path / "out.onnx")[0] == (1, 3, 48, 96)
    # Exporters write `?` and -1 for any size: two of them need not be the same.
    done = run("convert", fetch("ppocr_cls"), "-o", "cls.onnx", "--fix-shape", "x:1,3,48,192")
    assert done.code == 0, done
    assert shapes(tmp_path / "cls.onnx")[0] == (1, 3, 48, 192)

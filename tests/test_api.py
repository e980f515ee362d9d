from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.engine import PassSpec, Stage
from graphopt.errors import DataError, FileError, ModelError, UsageError
from graphopt.passes import EliminateIdentity, FoldConstants, FuseConvBatchnorm
from tests.build import parse

W = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
TEXT = """g (float[N,4] x) => (float[N,3] y) {
    t = Identity(x)
    u = MatMul(t, w)
    y = Relu(u)
}"""


@pytest.fixture
def proto() -> onnx.ModelProto:
    return parse(TEXT, w=W)


@pytest.fixture
def path(tmp_path: Path, proto: onnx.ModelProto) -> Path:
    file = tmp_path / "model.onnx"
    onnx.save(proto, file)
    return file


def names(result: graphopt.OptimizeResult) -> list[str]:
    return [p.name for stage in result.report.stages for p in stage.passes]


def fresh(code: str) -> str:
    """Run code in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_load_takes_path_bytes_proto_and_model(path: Path, proto: onnx.ModelProto) -> None:
    for source in (path, str(path), path.read_bytes(), proto):
        model = graphopt.load(source)
        assert isinstance(model, graphopt.Model)
        assert model.proto == proto
        assert graphopt.load(model) is model
    assert graphopt.load(path).path == path
    assert graphopt.load(proto).path is None


@pytest.mark.parametrize(("source", "error"), [("none.onnx", FileError), (b"hello", ModelError)])
def test_load_refuses_what_is_no_model(source: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        graphopt.load(source)


def test_optimize_runs_the_recipe_exact(path: Path) -> None:
    result = graphopt.optimize(path)
    assert isinstance(result, graphopt.OptimizeResult)
    assert isinstance(result.model, graphopt.Model)
    assert isinstance(result.report, graphopt.Report)
    assert (result.report.status, result.report.recipe) == ("verified", "exact")
    assert (result.report.before.nodes, result.report.after.nodes) == (3, 2)
    onnx.checker.check_model(result.model.proto, full_check=True)


def test_given_proto_is_not_changed(proto: onnx.ModelProto) -> None:
    before = proto.SerializeToString(deterministic=True)
    assert graphopt.optimize(proto).report.changed
    assert proto.SerializeToString(deterministic=True) == before


def test_recipe_by_name_file_and_object(path: Path, tmp_path: Path) -> None:
    recipe = graphopt.Recipe("mine", (Stage((PassSpec("eliminate_identity"),)),))
    file = tmp_path / "mine.toml"
    file.write_text(recipe.to_text())
    for given in (recipe, file, str(file)):
        result = graphopt.optimize(path, given)
        assert result.report.recipe == "mine"
        assert names(result) == ["eliminate_identity"]
    assert graphopt.optimize(path, "identical").report.recipe == "identical"


def test_passes_by_name_and_object(path: Path) -> None:
    result = graphopt.optimize(
        path, passes=["fold-constants:max_bytes=5", EliminateIdentity(), FuseConvBatchnorm()]
    )
    assert names(result) == ["fold_constants", "eliminate_identity", "fuse_conv_batchnorm"]
    assert result.report.after.nodes == 2


def test_passes_come_after_a_recipe(path: Path) -> None:
    result = graphopt.optimize(path, "identical", passes=[FuseConvBatchnorm()])
    assert names(result)[-1] == "fuse_conv_batchnorm"
    assert len(result.report.stages) == 2


def test_pass_object_and_name_make_the_same_digest(path: Path) -> None:
    by_name = graphopt.optimize(path, passes=["fold_constants:max_bytes=5"])
    by_object = graphopt.optimize(path, passes=[FoldConstants(max_bytes=5)])
    assert by_name.report.recipe_digest == by_object.report.recipe_digest


@pytest.mark.parametrize(
    "arguments",
    [
        {"passes": []},
        {"passes": ["fold_constant"]},
        {"passes": ["fold_constants:max=1"]},
        {"recipe": "exakt"},
    ],
    ids=str,
)
def test_mistakes_come_with_a_hint(path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        graphopt.optimize(path, **arguments)
    assert caught.value.hint


def test_target_that_there_is_not(path: Path) -> None:
    with pytest.raises((UsageError, ValueError)):
        graphopt.optimize(path, target="tpu")  # type: ignore[arg-type]


def test_data_shapes_seed_and_progress(path: Path) -> None:
    told: list[str] = []
    data = [{"x": np.ones((2, 4), np.float32)}, {"x": np.zeros((1, 4), np.float32)}]
    report = graphopt.optimize(path, data=data, seed=3, progress=told.append).report
    assert (report.seed, report.stages[0].verification.inputs) == (3, 2)
    assert told
    report = graphopt.optimize(path, input_shapes={"x": [6, 4]}).report
    assert report.before.macs_at == {"x": [6, 4]}


def test_no_data_is_a_mistake(path: Path) -> None:
    for call in (graphopt.optimize, lambda *a, **k: graphopt.compare(path, *a, **k)):
        with pytest.raises(DataError):
            call(path, data=[])


@pytest.mark.parametrize(
    "data",
    [
        [{"x": np.ones((1, 4), np.float64)}],
        [{"x": np.ones((1, 5), np.float32)}],
        [{"z": np.ones((1, 4), np.float32)}],
        [{"x": np.ones((1, 4), np.float32), "z": np.ones(1)}],
        [{}],
        [np.ones((1, 4), np.float32)],
        "data.npz",
    ],
    ids=["dtype", "shape", "name", "extra", "none", "array", "path"],
)
def test_data_that_does_not_fit_is_a_mistake(path: Path, data: Any) -> None:
    with pytest.raises(DataError):
        graphopt.optimize(path, data=data)
    with pytest.raises(DataError):
        graphopt.compare(path, path, data=data)


def test_shape_of_an_input_that_there_is_not(path: Path) -> None:
    with pytest.raises(UsageError, match="'z'"):
        graphopt.optimize(path, input_shapes={"z": (1, 4)})
    with pytest.raises(UsageError, match="'z'"):
        graphopt.inspect(path, input_shapes={"z": (1, 4)})


@pytest.mark.parametrize("passes", [[FoldConstants], [FuseConvBatchnorm], "fold_constants"])
def test_class_or_text_for_a_list_of_passes(path: Path, passes: Any) -> None:
    with pytest.raises(UsageError):
        graphopt.optimize(path, passes=passes)


def test_negative_seed_is_a_mistake(path: Path) -> None:
    with pytest.raises(UsageError):
        graphopt.optimize(path, seed=-1)


def test_without_verification(path: Path) -> None:
    assert graphopt.optimize(path, verify=False).report.status == "unverified"


def test_compare(path: Path, proto: onnx.ModelProto) -> None:
    same = graphopt.compare(path, graphopt.optimize(path).model)
    assert isinstance(same, graphopt.Verification)
    assert same.status == "ok"
    assert graphopt.compare(proto, parse(TEXT, w=-W)).status == "failed"


def test_inspect(path: Path) -> None:
    stats = graphopt.inspect(path, input_shapes={"x": (5, 4)})
    assert isinstance(stats, graphopt.ModelStats)
    assert (stats.nodes, stats.parameters, stats.macs) == (3, 12, 60)


def test_save_takes_model_and_result(path: Path, tmp_path: Path) -> None:
    result = graphopt.optimize(path)
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    assert graphopt.save(result, one) == one
    assert graphopt.save(result.model, str(two)) == two
    assert one.read_bytes() == two.read_bytes()
    assert onnx.load(one) == result.model.proto


def test_save_with_external_data(path: Path, tmp_path: Path) -> None:
    target = graphopt.save(graphopt.load(path), tmp_path / "out.onnx", external_threshold=1)
    assert len(list(tmp_path.glob("out.onnx.*.data"))) == 1
    assert graphopt.compare(path, target).status == "ok"


def test_every_error_is_a_graphopt_error(tmp_path: Path) -> None:
    with pytest.raises(graphopt.GraphoptError, match="no such file"):
        graphopt.optimize(tmp_path / "none.onnx")


def test_every_public_name_is_there() -> None:
    for name in graphopt.__all__:
        assert getattr(graphopt, name).__doc__
        assert name in dir(graphopt)
    with pytest.raises(AttributeError, match="no attribute 'optimise'"):
        graphopt.optimise  # noqa: B018


def test_import_costs_nothing() -> None:
    code = "import sys, graphopt; print({'numpy', 'onnx', 'onnxruntime'} & set(sys.modules))"
    assert fresh(code) == "set()"


def test_passes_are_imported_one_by_one() -> None:
    code = (
        "import sys; from graphopt.passes import FuseConvBatchnorm; "
        "print(FuseConvBatchnorm.__module__, "
        "[m for m in sys.modules if m.startswith('graphopt.passes.') and m.count('.') == 3 "
        "and '._' not in m])"
    )
    name = "graphopt.passes.fuse.fuse_conv_batchnorm"
    assert fresh(code) == f"{name} ['{name}']"


def test_unknown_pass_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="FuseConvBatchNorm"):
        from graphopt.passes import FuseConvBatchNorm  # noqa: F401


def test_is_typed() -> None:
    spec = importlib.util.find_spec("graphopt")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).with_name("py.typed").exists()

"""Placement for real: OpenVINO on this machine's CPU, beside ONNX Runtime's own provider."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.benching.fallback import check_fallback
from graphopt.benching.placement import measure_placement
from graphopt.errors import ProviderUnavailable
from graphopt.model import load_model
from graphopt.report.bench import Placement
from graphopt.runtime.availability import check_available
from graphopt.runtime.settings import CPU, Provider, SessionSettings, parse_provider
from models.catalog import by_name, feeds
from models.fetch import fetch
from tests.build import Array, parse

pytestmark = pytest.mark.ep

OPENVINO = parse_provider("openvino").name

CATALOGUE = (
    "resnet_20", "mixnet", "magika", "mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "ppocr_cls"
)  # fmt: skip

DOUBLE = """agraph (float[N,32] x, float[32,32] w, double[32,32] v) => (double[N,32] y) {
  [first] a = MatMul(x, w)
  [between] b = Relu(a)
  [cast] c = Cast<to=11>(b)
  [heavy] y = MatMul(c, v)
}"""
"""OpenVINO multiplies no float64: half of the multiply-accumulates."""

UNPOOL = """agraph (float[1,3,10,10] x, float[4,3,3,3] w) => (float[1,4,8,8] y) {
  [conv] c = Conv(x, w)
  [pool] p, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(c)
  [unpool] y = MaxUnpool<kernel_shape=[2,2], strides=[2,2]>(p, i)
}"""
"""Nor has it MaxUnpool, whose indices also have to leave it."""

TINY = """agraph (float[64,256] x, float[256,256] w, float[2,2] s) => (float[64,256] y) {
  [first] a = MatMul(x, w)
  [small] d = Det(s)
  [last] y = Mul(a, d)
}"""
"""Nor Det, which costs nothing here."""


def arrays(**shapes: tuple[int, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


def placed(path: Path, values: dict[str, Array], provider: str = "openvino") -> Placement:
    settings = SessionSettings(provider=parse_provider(provider))
    return measure_placement(path, settings, values, load_model(path))


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Placement:
    path = tmp_path_factory.mktemp("double") / "double.onnx"
    onnx.save(parse(DOUBLE), path)
    values = arrays(x=(8, 32), w=(32, 32), v=(32, 32))
    return placed(path, values | {"v": values["v"].astype(np.float64)})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Placement:
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    onnx.save(parse(TINY), path)
    return placed(path, arrays(x=(64, 256), w=(256, 256), s=(2, 2)))


def test_openvino_is_available() -> None:
    check_available(parse_provider("openvino"))
    check_available(parse_provider("openvino:device_type=CPU,num_of_threads=1"))


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("openvino:nosuch=1", "nosuch"),
        ("openvino:device_type=GPU", "Device GPU is not available"),
    ],
)
def test_openvino_with_options_that_it_refuses_is_not(provider: str, words: str) -> None:
    with pytest.raises(ProviderUnavailable, match=words) as caught:
        check_available(parse_provider(provider))
    assert caught.value.hint == "without these options it does"
    assert "***" not in str(caught.value)


def test_cuda_takes_another_onnxruntime() -> None:
    with pytest.raises(ProviderUnavailable, match="is not in the onnxruntime") as caught:
        check_available(parse_provider("cuda"))
    assert caught.value.hint is not None
    assert "pip install onnxruntime-gpu" in caught.value.hint
    assert "openvino" in caught.value.hint


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_models_run_on_openvino_alone(name: str) -> None:
    found = placed(fetch(name), feeds(by_name(name), 0))
    assert list(found.nodes) == [OPENVINO], found.elsewhere
    # It fuses them all into one node; what counts is what the model has.
    assert found.nodes[OPENVINO] > 4
    assert (found.macs_elsewhere, found.bytes_elsewhere, found.elsewhere) == (0.0, 0.0, [])
    check_fallback(found, OPENVINO, strict=True, allow=False)


def test_nodes_that_fall_back_are_named_with_their_shares(double: Placement) -> None:
    assert double.nodes == {OPENVINO: 2, CPU: 2}
    heavy, cast = double.elsewhere
    assert (heavy.name, heavy.op_type, heavy.provider) == ("heavy", "MatMul", CPU)
    assert heavy.macs == 8 * 32 * 32
    assert heavy.bytes == 8 * (8 * 32 + 32 * 32 + 8 * 32)
    assert (cast.name, cast.macs, cast.bytes) == ("cast", 0, 12 * 8 * 32)
    assert double.macs_elsewhere == 0.5
    gone = 8 * (8 * 32 + 32 * 32 + 8 * 32) + 12 * 8 * 32
    on_openvino = 4 * (8 * 32 + 32 * 32 + 8 * 32) + 2 * 4 * 8 * 32  # the float32 product, and Relu
    assert double.bytes_elsewhere == gone / (gone + on_openvino)


def test_model_that_falls_back_is_refused_and_may_be_allowed(double: Placement) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        check_fallback(double, OPENVINO, strict=False, allow=False, file="double.onnx")
    assert str(caught.value) == (
        f"double.onnx: {OPENVINO} leaves 2 nodes to {CPU}, with 50 % of the multiply-accumulates "
        "and 65 % of the bytes: MatMul heavy, Cast cast"
    )
    assert caught.value.exit_code == 4
    check_fallback(double, OPENVINO, strict=False, allow=True)


def test_operator_that_openvino_lacks_counts_by_its_bytes(tmp_path: Path) -> None:
    onnx.save(parse(UNPOOL), tmp_path / "unpool.onnx")
    found = placed(tmp_path / "unpool.onnx", arrays(x=(1, 3, 10, 10), w=(4, 3, 3, 3)))
    assert [(node.name, node.macs) for node in found.elsewhere] == [("unpool", 0)]
    assert found.macs_elsewhere == 0.0
    with pytest.raises(ProviderUnavailable, match="MaxUnpool unpool"):
        check_fallback(found, OPENVINO, strict=False, allow=False)
    check_fallback(found, OPENVINO, strict=False, allow=True)


def test_small_node_that_falls_back_is_listed_and_refused_by_strict_alone(tiny: Placement) -> None:
    assert [(node.name, node.macs, node.bytes) for node in tiny.elsewhere] == [("small", 0, 20)]
    assert tiny.macs_elsewhere == 0.0
    assert tiny.bytes_elsewhere is not None
    assert 0 < tiny.bytes_elsewhere < 0.001
    check_fallback(tiny, OPENVINO, strict=False, allow=False)
    with pytest.raises(ProviderUnavailable, match="Det small") as caught:
        check_fallback(tiny, OPENVINO, strict=True, allow=False)
    assert caught.value.hint is not None
    assert "--strict-provider" in caught.value.hint


def test_device_that_does_not_exist_leaves_all_to_the_cpu() -> None:
    # OpenVINO opens a session with any name for a device, and then runs nothing.
    path = fetch("resnet_20")
    found = placed(path, feeds(by_name("resnet_20"), 0), "openvino:device_type=XYZ")
    assert list(found.nodes) == [CPU]
    assert (found.macs_elsewhere, found.bytes_elsewhere) == (1.0, 1.0)
    with pytest.raises(ProviderUnavailable, match="100 % of the multiply-accumulates"):
        check_fallback(found, OPENVINO, strict=False, allow=False)


def test_model_that_forbids_fallback_by_itself_does_not_hide_the_rest() -> None:
    path = fetch("resnet_20")
    settings = SessionSettings(
        provider=Provider(OPENVINO), config={"session.disable_cpu_ep_fallback": "1"}
    )
    found = measure_placement(path, settings, feeds(by_name("resnet_20"), 0), load_model(path))
    assert list(found.nodes) == [OPENVINO]

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest

from models.catalog import FOLDER, by_name, calibration_images, load_catalog

SHIPPED = [model.name for model in load_catalog() if model.distribution is None]
FLOORS = {"lenet_300_100": 0.984, "lenet_5": 0.988, "resnet_20": 0.978, "mixnet": 0.973}
BATCH_NORMS = {"lenet_300_100": 0, "lenet_5": 0, "resnet_20": 21, "mixnet": 9}
PARAMETERS = {"lenet_300_100": 266_610, "lenet_5": 431_080}

# What an exporter may leave behind of the machine it ran on.
TRACES = [b"/home/", b"/usr/", b":\\", b"site-packages", b".py", str(FOLDER.parent).encode()]


def load(name: str) -> onnx.ModelProto:
    return onnx.load(FOLDER / by_name(name).path)


def test_every_shipped_model_is_tested() -> None:
    assert set(FLOORS) == set(BATCH_NORMS) == set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_file_is_the_one_in_the_catalogue(name: str) -> None:
    content = (FOLDER / by_name(name).path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == by_name(name).sha256


@pytest.mark.parametrize("name", SHIPPED)
def test_accuracy(name: str) -> None:
    with np.load(FOLDER / "test.npz") as archive:
        images = archive["images"][:, None].astype(np.float32) / np.float32(255)
        labels = archive["labels"]
    session = onnxruntime.InferenceSession(
        str(FOLDER / by_name(name).path), providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(["logits"], {"image": images})
    assert logits.shape == (1000, 10)
    accuracy = float(np.mean(logits.argmax(1) == labels))
    assert accuracy >= FLOORS[name]
    # One image may change sides where another processor rounds otherwise.
    assert accuracy == pytest.approx(by_name(name).accuracy, abs=0.0011)


@pytest.mark.parametrize("name", SHIPPED)
def test_batch_normalisations_are_kept_in_inference_form(name: str) -> None:
    nodes = [node for node in load(name).graph.node if node.op_type == "BatchNormalization"]
    assert len(nodes) == BATCH_NORMS[name]
    for node in nodes:
        assert len(node.output) == 1
        assert not any(a.name == "training_mode" and a.i for a in node.attribute)


@pytest.mark.parametrize("name", SHIPPED)
def test_signature_and_version(name: str) -> None:
    model = load(name)
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, logits.name) == ("image", "logits")
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == [
        "batch",
        1,
        28,
        28,
    ]
    assert image.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["batch", 10]
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [17]


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_lenets_have_the_sizes_of_the_literature(name: str) -> None:
    weights = [t for t in load(name).graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert sum(int(np.prod(tensor.dims)) for tensor in weights) == PARAMETERS[name]


def test_mixnet_holds_what_makes_channel_surgery_hard() -> None:
    graph = load("mixnet").graph
    groups = {a.i for node in graph.node for a in node.attribute if a.name == "group"}
    assert groups == {1, 4, 32, 80}  # plain, grouped, and depthwise twice
    kinds = {node.op_type for node in graph.node}
    assert kinds >= {"Concat", "Sigmoid", "Mul", "Add", "Flatten", "Gemm", "GlobalAveragePool"}


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_of_the_training_machine_is_left(name: str) -> None:
    model = load(name)
    assert not model.metadata_props and not model.doc_string
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    content = (FOLDER / by_name(name).path).read_bytes()
    # The weights are random bytes, in which a short trace may turn up by chance.
    for tensor in model.graph.initializer:
        content = content.replace(tensor.raw_data, b"") if tensor.raw_data else content
    assert [trace for trace in TRACES if trace in content] == []


def test_files_are_small() -> None:
    total = sum((FOLDER / by_name(name).path).stat().st_size for name in SHIPPED)
    assert total < 5 * 2**20


def test_samples_are_what_the_readme_says() -> None:
    with np.load(FOLDER / "test.npz") as archive:
        images, labels = archive["images"], archive["labels"]
    assert images.shape == (1000, 28, 28) and images.dtype == np.uint8
    assert np.bincount(labels, minlength=10).tolist() == [100] * 10
    calibration = calibration_images()
    assert calibration.shape == (1000, 28, 28) and calibration.dtype == np.uint8
    with np.load(FOLDER / "calibration.npz") as archive:
        assert list(archive) == ["images"]
    # Calibrating on test images would flatter every lossy pass.
    assert not {i.tobytes() for i in calibration} & {i.tobytes() for i in images}

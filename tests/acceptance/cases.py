"""Models to try things on, with inputs they run with: onnx's own, the catalogue's, and CORPUS."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from graphopt.graph import build_program, graph_view
from graphopt.model import Model
from graphopt.verify.inputs import input_specs, make_feeds, size_plans
from models.catalog import feeds as catalog_feeds
from models.catalog import load_catalog
from models.fetch import fetch

Feeds = dict[str, Any]

_DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        content: Gives the file's bytes.
        feeds: Gives inputs to try, the first that run are good.
        folder: Where its external data lies.
        expected: Gives the outputs that belong to each of `feeds`, in the graph's order.
        rtol: How far a result may be from an expected output, as onnx itself compares them.
        atol: The same, absolute.
    """

    name: str
    content: Callable[[], bytes]
    feeds: Callable[[], Iterator[Feeds]]
    folder: Path | None = None
    expected: Callable[[], Iterator[list[Any]]] = lambda: iter(())
    rtol: float = 1e-3
    atol: float = 1e-7


def node_cases() -> list[Case]:
    """Every test case of onnx for single operators (this takes some seconds)."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they overflow and divide by zero on purpose
        found = collect_testcases(None)
    return [_node_case(item) for item in found]


def _node_case(item: Any) -> Case:
    model: ModelProto = item.model
    return Case(
        item.name, model.SerializeToString, lambda: _node_feeds(model, item.data_sets),
        expected=lambda: (list(map(_plain, outputs)) for _, outputs in item.data_sets),
        rtol=item.rtol, atol=item.atol,
    )  # fmt: skip


def _node_feeds(model: ModelProto, data_sets: list[Any]) -> Iterator[Feeds]:
    for inputs, _ in data_sets:
        names = [info.name for info in model.graph.input]
        yield dict(zip(names, map(_plain, inputs), strict=True))


def _plain(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def data_cases() -> list[Case]:
    """The model.onnx files that onnx ships for its backend tests."""
    return [
        Case(
            str(path.parent.relative_to(_DATA)), path.read_bytes, _reader(path),
            expected=_outputs_reader(path),
        )
        for path in sorted(_DATA.rglob("model.onnx"))
    ]  # fmt: skip


def _reader(path: Path) -> Callable[[], Iterator[Feeds]]:
    def read() -> Iterator[Feeds]:
        model = onnx.load(path)
        for folder in sorted(path.parent.glob("test_data_set_*")):
            yield {
                info.name: _from_file(folder / f"input_{index}.pb", info.type.WhichOneof("value"))
                for index, info in enumerate(model.graph.input)
                if (folder / f"input_{index}.pb").exists()
            }

    return read


def _outputs_reader(path: Path) -> Callable[[], Iterator[list[Any]]]:
    def read() -> Iterator[list[Any]]:
        model = onnx.load(path)
        for folder in sorted(path.parent.glob("test_data_set_*")):
            yield [
                _from_file(folder / f"output_{index}.pb", info.type.WhichOneof("value"))
                for index, info in enumerate(model.graph.output)
            ]

    return read


def _from_file(path: Path, kind: str | None) -> Any:
    if kind == "sequence_type":
        sequence = onnx.SequenceProto.FromString(path.read_bytes())
        return numpy_helper.to_list(sequence)
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))


def catalog_cases(*, shipped_only: bool = False) -> list[Case]:
    """The models of the catalogue; those that are not shipped are downloaded once."""

    def case(model: Any) -> Case:
        return Case(
            model.name,
            lambda: fetch(model.name).read_bytes(),
            lambda: iter([catalog_feeds(model, 0)]),
        )

    models = load_catalog()
    return [case(model) for model in models if not (shipped_only and model.distribution)]


def corpus_cases() -> list[Case]:
    """Every .onnx file under $CORPUS, with generated inputs."""
    folder = os.environ.get("CORPUS")
    if not folder:
        return []
    return [
        Case(str(path.relative_to(folder)), path.read_bytes, _generator(path), path.parent)
        for path in sorted(Path(folder).rglob("*.onnx"))
    ]


def _generator(path: Path) -> Callable[[], Iterator[Feeds]]:
    def generate() -> Iterator[Feeds]:
        model = onnx.load(path, load_external_data=False)
        program = build_program(Model(model))
        specs = input_specs(model, graph_view(program.main, program))
        for plan in size_plans(0):
            feeds = make_feeds(specs, plan, seed=0)
            if feeds is not None:
                yield feeds

    return generate


def sample(cases: list[Case], size: int) -> list[Case]:
    """The same cases in every run."""
    return random.Random(0).sample(cases, min(size, len(cases)))

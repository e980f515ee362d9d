"""The models, each with inputs to run it on."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from graphopt.graph import build_program, graph_view
from graphopt.model import Model
from graphopt.verify.inputs import input_specs, make_feeds, size_plans
from models.catalog import by_name, feeds, load_catalog
from models.fetch import fetch

INPUT_SETS = 3
_LISTED = Path(__file__).parents[1] / "peers.toml"


@dataclass(frozen=True, slots=True)
class Entry:
    """One model.

    Attributes:
        in_catalogue: Its inputs are the catalogue's, not generated ones.
    """

    name: str
    path: Path
    in_catalogue: bool


def entries() -> list[Entry]:
    """The catalogue's models, then those under CORPUS."""
    found = [Entry(model.name, fetch(model.name), True) for model in load_catalog()]
    folder = os.environ.get("CORPUS")
    for path in sorted(Path(folder).rglob("*.onnx")) if folder else []:
        found.append(Entry(path.name.removesuffix(".onnx"), path, False))
    return found


def entry(name: str) -> Entry:
    """The model called `name`."""
    return next(item for item in entries() if item.name == name)


def baseline_rows() -> dict[str, dict[str, int]]:
    """The rows that were measured before, by model: what each peer left."""
    return tomllib.loads(_LISTED.read_text(encoding="utf-8"))


def candidates(item: Entry, variation: int) -> Iterator[dict[str, Any]]:
    """Inputs to try for one input set, the likeliest first."""
    if item.in_catalogue:
        yield feeds(by_name(item.name), variation)
        return
    model = onnx.load(item.path, load_external_data=False)
    program = build_program(Model(model))
    specs = input_specs(model, graph_view(program.main, program))
    for plan in size_plans(variation):
        made = make_feeds(specs, plan, seed=variation)
        if made is not None:
            yield made

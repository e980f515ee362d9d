"""Nodes that recipe `exact` leaves of each model, beside its peers': `make bench-nodes`.

The catalogue, and every .onnx file under CORPUS. Constant nodes are not counted. The peers' figures
are those of peers.toml, for models that have an entry there.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import graphopt
from models.catalog import load_catalog
from models.fetch import fetch

_PEERS = Path(__file__).with_name("peers.toml")


def models() -> Iterator[tuple[str, Path]]:
    """Every model by name: the catalogue's, then CORPUS's."""
    for model in load_catalog():
        yield model.name, fetch(model.name)
    folder = os.environ.get("CORPUS")
    for path in sorted(Path(folder).rglob("*.onnx")) if folder else []:
        yield path.name.removesuffix(".onnx"), path


def main() -> None:
    """Print the table, and how many rows are worse or better than what the peers reach."""
    peers = tomllib.loads(_PEERS.read_text(encoding="utf-8"))
    worse = better = best = 0
    print(f"{'model':32} {'before':>6} {'after':>6} {'ORT basic':>9} {'best peer':>9}  status")
    for name, path in models():
        report = graphopt.optimize(path).report
        before, after = (s.nodes - s.constant_nodes for s in (report.before, report.after))
        known = peers.get(name, {})
        basic, other = known.get("ort_basic"), known.get("best")
        worse += basic is not None and after > basic
        better += other is not None and after < other
        best += other is not None and after == other
        print(
            f"{name:32} {before:6} {after:6} {basic or '-':>9} {other or '-':>9}  {report.status}",
            flush=True,
        )
    print(
        f"worse than ORT basic: {worse}; equal to the best peer: {best}; "
        f"better than every peer: {better}"
    )


if __name__ == "__main__":
    main()

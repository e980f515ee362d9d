"""Is a result right? Run as a process of its own: what it loads may crash it.

`python -m tests.benchmarks.simplify.judge MODEL REFERENCE` runs the original, optimisations off, on
three input sets, and keeps what it answers; with a third argument, the result's path, the result is
compared with that. What was found is printed as JSON.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto

from tests.benchmarks.simplify.entries import INPUT_SETS, candidates, entry

CLOSE = 1e-3
"""Difference of an output, relative to its largest value, that is right."""
FAR = 2e-2
"""Difference that is wrong; between the two it drifts."""
NOISE = 1e-6
NOISE_FACTOR = 20

Feeds = dict[str, Any]


@dataclass
class Finding:
    """What was found of one file.

    Attributes:
        status: ok, drift, wrong, norun (it fails on inputs that the original takes) or noload.
        nodes: Nodes, those of bodies and functions included, Constant nodes left out.
        bytes: The file's, external data included.
        checker: What onnx.checker says against it; empty: nothing.
        signature: Inputs that must be fed, and outputs: name, element type, sizes.
        inputs: Input sets that were compared.
        furthest: The largest difference, relative to its output's largest value.
    """

    status: str
    nodes: int = 0
    bytes: int = 0
    checker: str = ""
    signature: list[Any] = field(default_factory=list)
    inputs: int = 0
    furthest: float = 0.0
    detail: str = ""


def count_nodes(model: ModelProto) -> int:
    """Nodes of the graph, of bodies and of functions, Constant nodes left out."""
    nodes = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    return sum(node.op_type != "Constant" for node in _deep(nodes))


def _deep(nodes: list[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _deep(list(graph.node))


def file_bytes(path: Path, model: ModelProto) -> int:
    """Size of the file and of its external data."""
    places = {
        e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"
    }
    return path.stat().st_size + sum((path.parent / place).stat().st_size for place in places)


def signature(model: ModelProto) -> list[Any]:
    """Inputs that must be fed, and outputs."""
    given = {tensor.name for tensor in model.graph.initializer}
    fed = [info for info in model.graph.input if info.name not in given]
    return [
        [info.name, kind.elem_type, [d.dim_param or d.dim_value for d in kind.shape.dim]]
        for info in [*fed, *model.graph.output]
        for kind in [info.type.tensor_type]
    ]


def described(path: Path) -> Finding:
    """All that needs no run."""
    model = onnx.load(path, load_external_data=False)
    found = Finding("ok", count_nodes(model), file_bytes(path, model), signature=signature(model))
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # whatever it says
        found.checker = f"{type(error).__name__}: {error}"[:300]
    return found


def opened(path: Path) -> ort.InferenceSession:
    """A session with nothing optimised."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 2
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def reference(name: str, kept: Path) -> Finding:
    """Run the original; keep inputs, outputs, and how far the outputs move by themselves."""
    item = entry(name)
    found = described(item.path)
    session = opened(item.path)
    outputs = [output.name for output in session.get_outputs()]
    sets = []
    for variation in range(INPUT_SETS):
        for feeds in candidates(item, variation):
            try:
                answers = session.run(outputs, feeds)
            except Exception as error:  # these sizes are not the model's
                found.detail = str(error)[:200]
                continue
            sets.append(
                (feeds, dict(zip(outputs, answers, strict=True)), _floor(session, feeds, answers))
            )
            break
    found.inputs = len(sets)
    if not sets:
        found.status = "norun"
    kept.write_bytes(pickle.dumps(sets))
    return found


def _floor(session: ort.InferenceSession, feeds: Feeds, answers: list[Any]) -> list[float]:
    floor = [1e-7] * len(answers)
    for factor in (1 + NOISE, 1 - NOISE):
        moved = {
            name: (value * factor).astype(value.dtype) if value.dtype.kind == "f" else value
            for name, value in feeds.items()
        }
        try:
            others = session.run(None, moved)
        except Exception:  # then its own noise is unknown
            continue
        for index, (a, b) in enumerate(zip(answers, others, strict=True)):
            if np.shape(a) == np.shape(b):
                floor[index] = max(floor[index], _apart(np.asarray(a), np.asarray(b)))
    return floor


def _apart(a: Any, b: Any) -> float:
    if a.dtype.kind not in "fiub" or not a.size:
        return 0.0
    apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(np.nan_to_num(apart, posinf=0.0).max())


def judge(path: Path, kept: Path) -> Finding:
    """Compare a result with what the original answered."""
    try:
        found = described(path)
        session = opened(path)
    except Exception as error:  # whatever keeps it from being loaded
        return Finding("noload", detail=f"{type(error).__name__}: {error}"[:300])
    sets = pickle.loads(kept.read_bytes())
    found.inputs = len(sets)
    if not sets:
        found.status, found.detail = "norun", "the original runs on none of the inputs"
    takes = {info.name for info in session.get_inputs()}
    for feeds, expected, floor in sets:
        fed = {name: value for name, value in feeds.items() if name in takes}
        try:
            answers = session.run(list(expected), fed)
        except Exception as error:  # the original takes these
            found.status, found.detail = "norun", str(error)[:300]
            return found
        for (name, a), b, own in zip(expected.items(), answers, floor, strict=True):
            _compare(found, name, np.asarray(a), np.asarray(b), own)
    return found


def _compare(found: Finding, name: str, a: Any, b: Any, floor: float) -> None:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        found.status = "wrong"
        found.detail = f"{name}: {a.dtype}{a.shape} became {b.dtype}{b.shape}"
        return
    if a.dtype.kind not in "fiub" or not a.size:
        return
    first, second = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(first)
    if (finite != np.isfinite(second)).any():
        found.status, found.detail = "wrong", f"{name}: not finite in one of them"
        return
    apart = float(np.abs(first - second)[finite].max(initial=0.0))
    far = apart / max(float(np.abs(first[finite]).max(initial=0.0)), 1e-6)
    found.furthest = max(found.furthest, far)
    if far <= CLOSE or apart <= NOISE_FACTOR * floor or found.status == "wrong":
        return
    found.status = "wrong" if far > FAR else "drift"
    found.detail = f"{name} differs by {far:.3g}"


def main(arguments: list[str]) -> None:
    """Print what was found of the original, or of a result."""
    kept = Path(arguments[1])
    found = (
        reference(arguments[0], kept) if len(arguments) == 2 else judge(Path(arguments[2]), kept)
    )
    print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""One peer on one model: `python -m tests.benchmarks.simplify.peers NAME IN OUT`.

Nothing is imported but what the peer needs: the whole process is timed.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def _modules(*names: str) -> list[Any]:
    return [importlib.import_module(name) for name in names]


def _onnxsim(source: str, target: str) -> None:
    onnx, onnxsim = _modules("onnx", "onnxsim")
    model, _ = onnxsim.simplify(source)
    onnx.save(model, target)


def _onnxslim(source: str, target: str) -> None:
    onnx, onnxslim = _modules("onnx", "onnxslim")
    onnx.save(onnxslim.slim(source), target)


def _onnxoptimizer(source: str, target: str) -> None:
    onnx, onnxoptimizer = _modules("onnx", "onnxoptimizer")
    onnx.save(onnxoptimizer.optimize(onnx.load(source)), target)


def _onnxscript(source: str, target: str) -> None:
    onnx, optimizer = _modules("onnx", "onnxscript.optimizer")
    onnx.save(optimizer.optimize(onnx.load(source)), target)


def _ort_basic(source: str, target: str) -> None:
    (onnxruntime,) = _modules("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = target
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


PEERS = {
    "onnxsim": _onnxsim,
    "onnxslim": _onnxslim,
    "onnxoptimizer": _onnxoptimizer,
    "onnxscript": _onnxscript,
    "ort_basic": _ort_basic,
}


if __name__ == "__main__":
    PEERS[sys.argv[1]](*sys.argv[2:4])

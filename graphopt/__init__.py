"""graphopt: a smaller, faster ONNX model that still gives the same answers, with the proof.

>>> import graphopt
>>> result = graphopt.optimize("model.onnx")          # doctest: +SKIP
>>> result.report.after.nodes, result.report.status   # doctest: +SKIP
>>> graphopt.save(result.model, "smaller.onnx")       # doctest: +SKIP

Names are imported on first use, so that `import graphopt` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphopt.api import compare, inspect, load, optimize, save
    from graphopt.changing import convert, extract
    from graphopt.engine import OptimizeResult, Recipe
    from graphopt.engine.changing import ChangeResult
    from graphopt.errors import GraphoptError
    from graphopt.model import Model
    from graphopt.report import ModelStats, Report, Verification
    from graphopt.report.bench import BenchReport
    from graphopt.report.change import ChangeReport
    from graphopt.report.tune import TuneReport
    from graphopt.timing import bench, tune

_HOMES = {
    "bench": "graphopt.timing",
    "compare": "graphopt.api",
    "convert": "graphopt.changing",
    "extract": "graphopt.changing",
    "inspect": "graphopt.api",
    "load": "graphopt.api",
    "optimize": "graphopt.api",
    "save": "graphopt.api",
    "tune": "graphopt.timing",
    "BenchReport": "graphopt.report.bench",
    "ChangeReport": "graphopt.report.change",
    "ChangeResult": "graphopt.engine.changing",
    "GraphoptError": "graphopt.errors",
    "Model": "graphopt.model",
    "ModelStats": "graphopt.report",
    "OptimizeResult": "graphopt.engine",
    "Recipe": "graphopt.engine",
    "Report": "graphopt.report",
    "TuneReport": "graphopt.report.tune",
    "Verification": "graphopt.report",
}

__version__ = "0.1.0"

__all__ = [
    "BenchReport",
    "ChangeReport",
    "ChangeResult",
    "GraphoptError",
    "Model",
    "ModelStats",
    "OptimizeResult",
    "Recipe",
    "Report",
    "TuneReport",
    "Verification",
    "bench",
    "compare",
    "convert",
    "extract",
    "inspect",
    "load",
    "optimize",
    "save",
    "tune",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

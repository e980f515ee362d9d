"""What a large model costs: `python -m tests.acceptance.large_model [MODEL OUT]`.

Loads, inspects, links and saves MODEL to OUT, or does nothing but import, and prints as JSON the
peak memory of this process and the bytes that went into arrays.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx import numpy_helper

import graphopt
from graphopt.api import inspect, load, save
from graphopt.graph import annotate, build_program, export_program, export_types
from graphopt.model import TensorData


def peak_megabytes() -> float:
    """High-water mark of resident memory.

    Not ru_maxrss: that starts at what the parent had when it forked, here a whole pytest.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    assert graphopt.__version__
    in_arrays = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal in_arrays
            result = function(*args, **options)
            in_arrays += getattr(result, "nbytes", 0)
            return result

        return call

    TensorData.array = counted(TensorData.array)  # type: ignore[method-assign]
    numpy_helper.to_array = counted(numpy_helper.to_array)
    read = 0
    if len(sys.argv) > 1:
        read = carry(Path(sys.argv[1]), Path(sys.argv[2]))
    print(
        json.dumps(
            {"peak_mb": peak_megabytes(), "array_mb": in_arrays / 2**20, "read_mb": read / 2**20}
        )
    )


def carry(source: Path, target: Path) -> int:
    """Take the model all the way without a pass; give the bytes read from its data file."""
    model = load(source)
    stats = inspect(model)
    assert stats.weight_bytes > 500_000_000 and stats.macs is not None
    program = build_program(model)
    annotate(program, model.proto)
    annotate(program, export_types(program))
    rebuilt = export_program(program, rebuild=True)
    save(rebuilt, target)
    assert model.files is not None
    return model.files.bytes_read


if __name__ == "__main__":
    main()

"""How often the benchmarker is right: A against A, and A against 20 % more work, under load.

python -m tests.benchmarks.comparisons [RUNS_1MS RUNS_25MS]    prints a table, in half an hour

A background load that is always the same (one process per two cores that computes half of the
time) makes the machine as noisy as a shared one. Every comparison is also made the usual way: all
calls of one, then all of the other, and the ratio of the means.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphopt.benching.options import BenchOptions
from graphopt.benching.runner import CaseInput, time_case
from graphopt.benching.statistics import interval, verdict
from graphopt.report.bench import Interval
from graphopt.runtime.settings import SessionSettings

_BUSY = """
import time
while True:
    end = time.perf_counter() + .05
    while time.perf_counter() < end:
        pass
    time.sleep(.05)
"""
LAYERS = 10


@dataclass(frozen=True)
class Size:
    """A chain of matrix products: rows and width of each, and what one comparison may take."""

    name: str
    rows: int
    width: int
    seconds: float


SIZES = (Size("1 ms", 8, 512, 2.0), Size("25 ms", 64, 1024, 8.0))


def chain(size: Size, layers: int) -> onnx.ModelProto:
    """x -> x @ w1 @ w2 ...: `layers` times the same work."""
    rng = np.random.default_rng(0)
    names = [f"t{n}" for n in range(layers)] + ["y"]
    weights = [
        numpy_helper.from_array(
            (rng.standard_normal((size.width, size.width)) / size.width**0.5).astype(np.float32),
            f"w{n}",
        )
        for n in range(layers)
    ]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(layers)]
    shape = [size.rows, size.width]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("t0", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@contextlib.contextmanager
def background_load() -> Iterator[None]:
    """Processes that compute half of the time, one per two cores."""
    count = max(1, (os.cpu_count() or 2) // 2)
    burning = [subprocess.Popen([sys.executable, "-I", "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def compare(paths: Sequence[Path], size: Size, seed: int) -> tuple[Interval, str]:
    """One comparison as `graphopt bench` makes it: the ratio, and the verdict."""
    options = BenchOptions(seed=seed, processes=5, precision=0.0)
    rng = np.random.default_rng(0)
    feeds = {"t0": rng.standard_normal((size.rows, size.width)).astype(np.float32)}
    case = CaseInput(paths, [feeds], SessionSettings(threads=1), binding=False)
    samples = time_case(case, options, size.seconds)
    ratio = interval(samples.log_ratios(1), seed)
    floor = interval(samples.log_ratios(2), seed)
    return ratio, verdict(ratio, floor, samples.pairs)


def naive(path: Path, size: Size) -> Interval:
    """The usual way: one session's calls, then another's, and the ratio of their means."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    feeds = {"t0": np.ones((size.rows, size.width), np.float32)}
    means, errors = [], []
    for _ in range(2):
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.run(None, feeds)
        times = []
        end = time.perf_counter() + size.seconds / 4
        while time.perf_counter() < end:
            start = time.perf_counter()
            session.run(None, feeds)
            times.append(time.perf_counter() - start)
        means.append(float(np.mean(times)))
        errors.append(float(np.std(times) / len(times) ** 0.5))
    ratio = means[1] / means[0]
    half = 1.96 * float(np.hypot(errors[0] / means[0], errors[1] / means[1]))
    return Interval(ratio, ratio * (1 - half), ratio * (1 + half))


def summary(name: str, found: Sequence[Interval]) -> str:
    """Error and coverage of comparisons whose true ratio is 1."""
    errors = np.array([abs(ratio.value - 1) for ratio in found])
    held = np.mean([ratio.low <= 1 <= ratio.high for ratio in found])
    wide = np.median([ratio.high / ratio.low - 1 for ratio in found])
    return (
        f"{name:28} runs {len(found):4}  median error {100 * np.median(errors):5.2f} %  "
        f"largest {100 * errors.max():6.2f} %  interval holds 1 in {100 * held:5.1f} %  "
        f"median width {100 * wide:5.2f} %"
    )


def main() -> None:
    """Print the table."""
    counts = [int(text) for text in sys.argv[1:3]] or [200, 60]
    with tempfile.TemporaryDirectory() as name, background_load():
        for size, runs in zip(SIZES, counts, strict=True):
            if not runs:
                continue
            paths = [Path(name) / f"{size.width}-{n}.onnx" for n in (LAYERS, LAYERS * 12 // 10)]
            for path, layers in zip(paths, (LAYERS, LAYERS * 12 // 10), strict=True):
                onnx.save(chain(size, layers), path)
            equal, usual, calls, true = [], [], [], []
            for seed in range(runs):
                equal.append(compare([paths[0], paths[0]], size, seed)[0])
                usual.append(naive(paths[0], size))
                if seed % (runs // 60 or 1) == 0:
                    ratio, said = compare(paths, size, seed)
                    calls.append(said == "slower")
                    true.append(ratio.value)
            print(summary(f"{size.name}, graphopt", equal), flush=True)
            print(summary(f"{size.name}, one after the other", usual), flush=True)
            print(
                f"{size.name + ', 20 % more work':28} runs {len(calls):4}  called slower in "
                f"{100 * np.mean(calls):5.1f} %  median ratio {np.median(true):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""The Python API of the benchmarker: bench, tune."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from graphopt.api import Source, load
from graphopt.benching.comparison import bench_models
from graphopt.benching.options import BenchOptions
from graphopt.benching.tuning import TuneOptions, tune_model
from graphopt.errors import UsageError
from graphopt.model import Model, load_model, save_model
from graphopt.report.bench import BenchReport
from graphopt.report.requirement import parse_requirement
from graphopt.report.tune import TuneReport
from graphopt.runtime.settings import parse_provider
from graphopt.verify import input_specs
from graphopt.verify.data import check_data
from graphopt.verify.inputs import Feeds


def bench(
    models: Sequence[Source],
    *,
    providers: Sequence[str] = ("cpu",),
    threads: Sequence[int] = (0,),
    batches: Sequence[int | None] = (None,),
    data: Sequence[Feeds] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    seconds: float = 10.0,
    require: Sequence[str] = (),
    seed: int = 0,
    options: BenchOptions | None = None,
) -> BenchReport:
    """Time models side by side, as `graphopt bench` does.

    Args:
        models: Paths, bytes or models; the first is the reference.
        providers: Execution providers as the command line takes them: `cuda:device_id=0`.
        threads: Threads inside one operator, each a case; 0 is ONNX Runtime's default.
        batches: Sizes of the open batch dimension, each a case; None leaves the data's own, or 1.
        data: Input sets (arrays by input name), run in turn; generated ones by default.
        input_shapes: Shapes of generated inputs.
        seconds: Time for the whole comparison.
        require: Conditions such as "latency_ratio <= 0.95"; `report.outcome` says how they went.
        seed: Seed of everything random.
        options: All else that can be asked for (loads, memory, profile, session settings).

    Raises:
        graphopt.errors.GraphoptError: Bad input, a provider that is not to be had, or a model that
            does not run.
    """
    for name, texts in (("models", models), ("providers", providers), ("require", require)):
        if isinstance(texts, str | bytes | Path):
            raise UsageError(f"{name} is one, not a list", hint=f"give a list: [{texts!r}]")
    asked = dataclasses.replace(
        options or BenchOptions(),
        providers=[parse_provider(text) for text in providers],
        threads=threads, batches=batches, seconds=seconds, seed=seed,
        shapes={name: tuple(shape) for name, shape in (input_shapes or {}).items()},
        requirements=[parse_requirement(text) for text in require],
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="graphopt-bench-") as folder:
        placed = [_in_file(load(model), Path(folder), n) for n, model in enumerate(models)]
        if data is not None and placed:
            fed = check_data(data, input_specs(placed[0].proto))
            asked = dataclasses.replace(asked, data=fed)
        return bench_models(placed, asked)


def tune(
    model: Source,
    *,
    provider: str = "cpu",
    objective: Literal["latency", "throughput", "memory"] = "latency",
    seconds: float = 30.0,
    data: Sequence[Feeds] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    options: TuneOptions | None = None,
) -> TuneReport:
    """Find the session settings that run a model best on this machine; the model stays as it is.

    Args:
        model: What to run.
        provider: The execution provider, as the command line takes it.
        objective: Time of one call, time of one row, or peak bytes.
        seconds: For the whole of it.
        data: Input sets (arrays by input name); a generated one by default.
        input_shapes: Shapes of generated inputs.
        seed: Seed of everything random.
        options: All else that can be asked for.

    Returns:
        The best settings, by how much they beat the defaults, and Python that makes the session.

    Raises:
        graphopt.errors.GraphoptError: Bad input, a provider that is not to be had, or a model that
            does not run.
    """
    with tempfile.TemporaryDirectory(prefix="graphopt-tune-") as folder:
        placed = _in_file(load(model), Path(folder), 0)
        asked = dataclasses.replace(
            options or TuneOptions(),
            provider=parse_provider(provider), objective=objective, seconds=seconds, seed=seed,
            shapes={name: tuple(shape) for name, shape in (input_shapes or {}).items()},
            data=None if data is None else check_data(data, input_specs(placed.proto)),
        )  # fmt: skip
        return tune_model(placed, asked)


def _in_file(model: Model, folder: Path, number: int) -> Model:
    """The model, read from a file: sessions load files."""
    if model.source is not None:
        return model
    return load_model(save_model(model, folder / f"model{number}.onnx"))

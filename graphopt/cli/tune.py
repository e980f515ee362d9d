"""graphopt tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphopt.cli.console import progress_shown, show
from graphopt.cli.values import (
    WEEK,
    NumberRange,
    input_options,
    output_options,
    parse_numbers,
    parse_shapes,
)
from graphopt.errors import ExitCode

if TYPE_CHECKING:  # imported when they are used: --help must not wait for onnx
    from graphopt.benching.tuning import TuneOptions
    from graphopt.model import Model


@click.command("tune")
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.option(
    "--provider",
    "--ep",
    default="cpu",
    show_default=True,
    metavar="NAME[:key=value,...]",
    help="cpu, cuda, tensorrt, openvino, or ONNX Runtime's name of one.",
)
@click.option(
    "--objective",
    type=click.Choice(["latency", "throughput", "memory"]),
    default="latency",
    show_default=True,
    help="Time of a call, time of a row of the batch, or peak memory.",
)
@click.option(
    "--seconds",
    type=NumberRange(min=0, max=WEEK, min_open=True),
    default=30.0,
    show_default=True,
    help="Time for all of it; a measurement that is under way then still ends.",
)
@click.option(
    "--batch",
    metavar="N[,N...]",
    help="Sizes of the open batch dimension, the default's first; several for throughput only.",
)
@click.option(
    "--concurrency",
    metavar="N[,N...]",
    help="Callers at once, the default's first; for throughput only.",
)
@click.option(
    "--max-threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ask for no more threads inside an operator.  [default: the cores]",
)
@input_options
@output_options(".json or .md", verbose="Every candidate; tracebacks.")
def command(**given: Any) -> int:
    """Find the session settings that run MODEL best on this machine; it stays as it is.

    Threads, spinning, optimisation level, memory pattern, arena, prepacking, IO binding, and for
    throughput the batch and the callers at once, are measured against ONNX Runtime's defaults.
    The best is printed as Python that makes the session. When nothing is shown to be better, the
    defaults are proposed, which is no failure.
    """
    from graphopt.benching.tuning import tune_model
    from graphopt.model import load_model
    from graphopt.report.files import check_suffix
    from graphopt.report.tune_text import TUNE_SUFFIXES, render_tune, write_tune

    for path in given["reports"]:
        check_suffix(path, TUNE_SUFFIXES)
    model = load_model(given["model"], external_data_root=given["external_data_root"])
    with progress_shown(quiet=given["quiet"], verbose=given["verbose"]) as progress:
        report = tune_model(model, _options(given, model, progress))
    for path in given["reports"]:
        write_tune(report, path)
    if given["json"]:
        from graphopt.report.files import json_text

        click.echo(json_text(report.to_dict()), nl=False)
    elif not given["quiet"]:
        show(render_tune(report, verbose=given["verbose"]))
    return ExitCode.DONE


def _options(given: dict[str, Any], model: Model, progress: Any) -> TuneOptions:
    from graphopt.benching.tuning import TuneOptions
    from graphopt.runtime.settings import parse_provider
    from graphopt.verify import input_specs
    from graphopt.verify.data import load_data

    data = given["data"]
    return TuneOptions(
        provider=parse_provider(given["provider"]),
        objective=given["objective"],
        seconds=given["seconds"],
        batches=_numbers(given, "batch"),
        concurrencies=_numbers(given, "concurrency"),
        shapes=parse_shapes(given["input_shapes"]),
        data=None if data is None else load_data(data, input_specs(model.proto)),
        max_threads=given["max_threads"],
        seed=given["seed"],
        progress=progress,
    )


def _numbers(given: dict[str, Any], option: str) -> tuple[int, ...] | None:
    text = given[option]
    return None if text is None else parse_numbers(text, f"--{option}", least=1)

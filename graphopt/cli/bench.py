"""graphopt bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphopt.cli.console import progress_shown, say, show
from graphopt.cli.values import (
    WEEK,
    NumberRange,
    input_options,
    output_options,
    parse_numbers,
    parse_pairs,
    parse_shapes,
)
from graphopt.errors import ExitCode

if TYPE_CHECKING:  # imported when they are used: --help must not wait for onnx
    from graphopt.benching.options import BenchOptions
    from graphopt.model import Model
    from graphopt.report.bench import BenchReport


@click.command("bench")
@click.argument(
    "models", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="MODEL..."
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="What the others are compared with; the first MODEL by default.",
)
@click.option(
    "--provider",
    "--ep",
    "providers",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="cpu, cuda, tensorrt, openvino, or ONNX Runtime's name of one. Repeatable: every model "
    "runs on each.  [default: cpu]",
)
@click.option("--batch", metavar="N[,N...]", help="Sizes of the open batch dimension.")
@click.option(
    "--threads", metavar="N[,N...]", help="Threads inside one operator; 0: as ONNX Runtime likes."
)
@click.option(
    "--seconds",
    type=NumberRange(min=0, max=WEEK, min_open=True),
    default=10.0,
    show_default=True,
    help="Time for the whole comparison; up to twice as long where 30 pairs take longer.",
)
@click.option(
    "--warmup",
    type=click.IntRange(min=1, max=10**6),
    default=3,
    show_default=True,
    metavar="RUNS",
    help="Runs of each model on each input before the clock starts.",
)
@click.option(
    "--min-runs",
    type=click.IntRange(min=1, max=10**6),
    default=30,
    show_default=True,
    help="Pairs of blocks before a comparison may end early; never fewer than 30.",
)
@click.option(
    "--repeat-processes",
    "processes",
    type=click.IntRange(min=1, max=1000),
    default=5,
    show_default=True,
    metavar="N",
    help="Fresh processes that share the time.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1, max=1024),
    default=1,
    show_default=True,
    metavar="N",
    help="Callers at once, each starting its next request when the last is answered.",
)
@click.option(
    "--rate",
    type=NumberRange(min=0, max=10**6, min_open=True),
    metavar="R",
    help="Requests a second that arrive whether or not the former are answered (Poisson); their "
    "latency counts from the arrival.",
)
@click.option(
    "--io-binding/--no-io-binding",
    "binding",
    default=None,
    help="Bind inputs and outputs on the device, copies timed apart.  [default: not on the CPU]",
)
@click.option("--cuda-graph", is_flag=True, help="Capture the CUDA graph and replay it.")
@click.option(
    "--opt-level",
    type=click.Choice(["off", "basic", "extended", "all"]),
    default="all",
    show_default=True,
    help="ONNX Runtime's own graph optimisations.",
)
@click.option(
    "--session",
    "session_entries",
    multiple=True,
    metavar="KEY=VALUE",
    help="A session configuration entry of ONNX Runtime. Repeatable.",
)
@click.option("--profile", is_flag=True, help="Time per node and operator, and what ran it.")
@click.option("--memory", is_flag=True, help="Memory of loading and running.")
@click.option("--cold", is_flag=True, help="Session creation and first run, in fresh processes.")
@click.option("--allow-fallback", is_flag=True, help="Nodes may run elsewhere than asked for.")
@click.option("--strict-provider", is_flag=True, help="Not even small nodes may run elsewhere.")
@click.option(
    "--require",
    "requirements",
    multiple=True,
    metavar="CONDITION",
    help="A condition such as 'latency_ratio <= 0.95', decided on the worse bound of the interval; "
    "exit code 1 when it is not met, 5 when the interval straddles it. Repeatable.",
)
@input_options
@output_options(".json, .md, .html or JUnit .xml", verbose="More of what was measured; tracebacks.")
def command(**given: Any) -> int:
    """Time each MODEL side by side with the reference, and say which is faster.

    Models take turns in random order, in several fresh processes; what counts is the ratio of
    their times, with its 95 % interval. The reference also runs against itself: what it shows then
    is what no difference looks like on this machine. One MODEL alone is timed for itself.

    Exit code 4 when a provider is not to be had, or left work to another one.
    """
    from graphopt.benching.comparison import bench_models
    from graphopt.report.bench_files import check_bench_suffix, write_bench

    for path in given["reports"]:
        check_bench_suffix(path)
    models = _models(given)
    with progress_shown(quiet=given["quiet"], verbose=given["verbose"]) as progress:
        report = bench_models(models, _options(given, models[0], progress))
    # Drawing is native code that no limit of memory ends gently: the others come first.
    for path in sorted(given["reports"], key=lambda path: path.suffix == ".html"):
        write_bench(report, path)
    if given["json"]:
        from graphopt.report.files import json_text

        click.echo(json_text(report.to_dict()), nl=False)
    elif not given["quiet"]:
        from graphopt.report.bench_text import render_bench

        show(render_bench(report, verbose=given["verbose"]))
    return _exit_code(report)


def _models(given: dict[str, Any]) -> list[Model]:
    from graphopt.model import load_model

    reference = [] if given["reference"] is None else [given["reference"]]
    root = given["external_data_root"]
    return [load_model(p, external_data_root=root) for p in [*reference, *given["models"]]]


def _options(given: dict[str, Any], reference: Model, progress: Any) -> BenchOptions:
    from graphopt.benching.options import BenchOptions
    from graphopt.report.requirement import parse_requirement
    from graphopt.runtime.settings import SessionSettings, parse_provider
    from graphopt.verify import input_specs
    from graphopt.verify.data import load_data

    config = parse_pairs(given["session_entries"], "--session")
    data = given["data"]
    return BenchOptions(
        providers=[parse_provider(text) for text in given["providers"] or ("cpu",)],
        threads=parse_numbers(given["threads"] or "0", "--threads", least=0),
        batches=parse_numbers(given["batch"], "--batch", least=1) if given["batch"] else (None,),
        shapes=parse_shapes(given["input_shapes"]),
        data=None if data is None else load_data(data, input_specs(reference.proto)),
        seconds=given["seconds"],
        warmup=given["warmup"],
        min_pairs=given["min_runs"],
        processes=given["processes"],
        concurrency=given["concurrency"],
        rate=given["rate"],
        binding=given["binding"],
        cuda_graph=given["cuda_graph"],
        session=SessionSettings(level=given["opt_level"], config=config),
        profile=given["profile"],
        memory=given["memory"],
        cold=given["cold"],
        allow_fallback=given["allow_fallback"],
        strict_provider=given["strict_provider"],
        requirements=[parse_requirement(text) for text in given["requirements"]],
        seed=given["seed"],
        progress=progress,
    )


def _exit_code(report: BenchReport) -> int:
    """The pipeline's answer, with a line on stderr for what is not met."""
    for row in report.requirements:
        if row.outcome != "met":
            found = row.measured
            value = "not measured" if found is None else (
                f"{row.metric} is {found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
            )  # fmt: skip
            say(f"error: {row.model}: requirement {row.text!r} is {row.outcome}: {value}")
    codes = {"met": ExitCode.DONE, "not met": ExitCode.CHECK_FAILED}
    return codes.get(report.outcome, ExitCode.INCONCLUSIVE)

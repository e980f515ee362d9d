"""graphopt compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from graphopt.cli.console import progress_shown, show
from graphopt.cli.values import input_options, parse_shapes
from graphopt.errors import ExitCode


@click.command("compare")
@click.argument("original", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@input_options
@click.option("--json", is_flag=True, help="Print JSON.")
@click.option("--allow-unverified", is_flag=True, help="What could not be compared is no failure.")
@click.option("-v", "--verbose", is_flag=True, help="Every check; tracebacks.")
def command(
    original: Path,
    other: Path,
    data: Path | None,
    input_shapes: tuple[str, ...],
    seed: int,
    external_data_root: Path | None,
    json: bool,
    allow_unverified: bool,
    verbose: bool,
) -> int:
    """Compare OTHER with ORIGINAL: signature, structure, and numbers on the same inputs.

    ONNX Runtime's own optimisations are off in both. Exit code 1 when they differ, or when nothing
    could be compared.
    """
    from graphopt.api import compare
    from graphopt.model import load_model
    from graphopt.report.text import render_verification
    from graphopt.verify import input_specs
    from graphopt.verify.data import load_data
    from graphopt.verify.inputs import check_shapes

    shapes = parse_shapes(input_shapes)
    first = load_model(original, external_data_root=external_data_root)
    second = load_model(other, external_data_root=external_data_root)
    specs = input_specs(first.proto)
    shapes = check_shapes(shapes, specs)
    feeds = None if data is None else load_data(data, specs)
    with progress_shown(quiet=False, verbose=verbose) as progress:
        progress("comparing")
        outcome = compare(first, second, data=feeds, input_shapes=shapes, seed=seed)
    if json:
        from graphopt.report.files import json_text

        click.echo(json_text(dataclasses.asdict(outcome)), nl=False)
    else:
        show(render_verification(outcome, verbose=True))
    passed = outcome.status == "ok" or (outcome.status == "not verified" and allow_unverified)
    return ExitCode.DONE if passed else ExitCode.CHECK_FAILED

"""graphopt inspect."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from graphopt.cli.console import show
from graphopt.cli.values import parse_shapes


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    metavar="NAME:d,d,...",
    help="Shape at which MACs and activations are counted. Repeatable.",
)
@click.option(
    "--external-data-root",
    type=click.Path(path_type=Path),
    help="Follow links among the external data inside this folder.",
)
@click.option("--json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks.")
def command(
    model: Path,
    input_shapes: tuple[str, ...],
    external_data_root: Path | None,
    json: bool,
    verbose: bool,
) -> None:
    """Show what MODEL is made of: nodes, parameters, bytes, MACs. Weights stay on disk."""
    from graphopt.graph import measure
    from graphopt.model import load_model
    from graphopt.report.text import render_stats
    from graphopt.verify import input_specs
    from graphopt.verify.inputs import check_shapes

    shapes = parse_shapes(input_shapes)
    loaded = load_model(model, external_data_root=external_data_root)
    shapes = check_shapes(shapes, input_specs(loaded.proto))
    stats = measure(loaded, shapes)
    if json:
        from graphopt.report.files import json_text

        click.echo(json_text(dataclasses.asdict(stats)), nl=False)
    else:
        show(render_stats(stats, str(model)))

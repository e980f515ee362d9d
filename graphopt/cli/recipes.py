"""graphopt recipes."""

from __future__ import annotations

import click

from graphopt.cli.console import show


@click.command("recipes")
@click.argument("name", required=False)
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks.")
def command(name: str | None, verbose: bool) -> None:
    """List the recipes, or print the one called NAME as TOML, to start your own from."""
    from graphopt.engine.recipe import built_in, load_recipe

    if name is not None:
        click.echo(load_recipe(name).to_text(), nl=False)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "admits", "passes", "what it does"):
        table.add_column(column)
    for known in built_in():
        recipe = load_recipe(known)
        passes = ", ".join(spec.name for stage in recipe.stages for spec in stage.passes)
        table.add_row(known, recipe.admits.value, passes, recipe.description)
    show(table)

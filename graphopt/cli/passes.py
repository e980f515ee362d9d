"""graphopt passes."""

from __future__ import annotations

import inspect
import sys

import click

from graphopt.cli.console import show


@click.command("passes")
@click.argument("name", required=False)
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks.")
def command(name: str | None, verbose: bool) -> None:
    """List the passes, or show the one called NAME with its options and conditions."""
    if name is None:
        _list()
    else:
        _one(name)


def _list() -> None:
    from rich.table import Table

    from graphopt.engine import available

    table = Table(box=None, pad_edge=False)
    for column in ("pass", "kind", "effect", "from", "what it does"):
        table.add_column(column)
    for entry in available().values():
        kind = entry.load()
        summary = (inspect.getdoc(kind) or "").splitlines()[0]
        table.add_row(entry.name, entry.category, kind.effect.value, entry.distribution, summary)
    show(table)


def _one(name: str) -> None:
    import dataclasses

    from graphopt.engine import find, option_types

    entry = find(name)
    kind = entry.load()
    module = inspect.getdoc(sys.modules[entry.module]) or ""
    click.echo(f"{entry.name} ({entry.category}, {kind.effect.value}, from {entry.distribution})\n")
    click.echo(f"{module}\n\n{inspect.getdoc(kind) or ''}")
    types = option_types(kind)
    if types:
        defaults = {f.name: f.default for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
        click.echo("\nOptions:")
        for option, wanted in types.items():
            described = getattr(wanted, "__name__", str(wanted))
            click.echo(f"  {option}: {described} = {defaults[option]!r}")

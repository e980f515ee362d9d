"""graphopt passes."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from graphopt.cli.console import show

if TYPE_CHECKING:
    from graphopt.engine.describe import Description


@click.command("passes")
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print a page of Markdown, as in docs/passes.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks.")
def command(name: str | None, markdown: bool, verbose: bool) -> None:
    """List the passes, or show the one called NAME with its options and conditions."""
    from graphopt.engine import available, find
    from graphopt.engine.describe import describe
    from graphopt.engine.pass_page import pass_index, pass_page

    if name is None:
        described = [describe(entry) for entry in available().values()]
        if markdown:
            click.echo(pass_index(described), nl=False)
        else:
            _list(described)
    else:
        one = describe(find(name))
        click.echo(pass_page(one) if markdown else _text(one), nl=False)


def _list(described: list[Description]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("pass", "kind", "effect", "from", "what it does"):
        table.add_column(column)
    for one in described:
        entry = one.entry
        table.add_row(entry.name, entry.category, one.effect.value, entry.distribution, one.summary)
    show(table)


def _text(one: Description) -> str:
    entry = one.entry
    kind = ", ".join(filter(None, (entry.category, one.effect.value)))
    parts = [f"{entry.name} ({kind}, from {entry.distribution})"]
    parts += [one.module_text, one.summary, one.class_text, _tested(one), _options(one)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _tested(one: Description) -> str:
    lines = [f"Fires on: {', '.join(one.fires_on)}."] if one.fires_on else []
    return "\n".join([*lines, *([f"Source: {one.source}"] if one.source else [])])


def _options(one: Description) -> str:
    from graphopt.engine.describe import REQUIRED, toml_text

    lines = ["Options:"] if one.options else []
    for option in one.options:
        default = "" if option.default is REQUIRED else f" = {toml_text(option.default)}"
        lines.append(f"  {option.name}: {option.type}{default}")
        lines += textwrap.wrap(option.text, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)

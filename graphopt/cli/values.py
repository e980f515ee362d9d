"""Option values that several sub-commands take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from graphopt.errors import UsageError

WEEK = 7 * 24 * 3600
"""Seconds; nothing that is asked for may take longer."""

F = TypeVar("F", bound=Callable[..., Any])


class NumberRange(click.FloatRange):
    """A range of numbers; click's own lets NaN pass, which is on no side of any bound."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number.

        Raises:
            click.BadParameter: It is none, or out of range.
        """
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def input_options(command: F) -> F:
    """The options that feed verification: --data, --input-shape, --seed, --external-data-root."""
    for option in reversed(_INPUT_OPTIONS):
        command = option(command)
    return command


def output_options(suffixes: str, *, verbose: str) -> Callable[[F], F]:
    """The options that say what is told, and where: --report, --json, --quiet, --verbose.

    Args:
        suffixes: Of the files that a report can be written to, in words.
        verbose: What --verbose adds, in words.
    """
    options = (
        click.option(
            "--report",
            "reports",
            multiple=True,
            type=click.Path(path_type=Path),
            help=f"Write the report to a {suffixes} file. Repeatable.",
        ),
        click.option(
            "--json", is_flag=True, help="Print the report as JSON, and nothing else, on stdout."
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        click.option("-v", "--verbose", is_flag=True, help=verbose),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def parse_shapes(texts: Sequence[str], option: str = "--input-shape") -> dict[str, tuple[int, ...]]:
    """Parse `NAME:d,d,...`; names may hold colons, so the last one splits; `=` is accepted.

    Args:
        texts: What was given.
        option: The option that took it, for error messages.

    Raises:
        UsageError: No name, or a dimension that is not a whole number from 0 on.
    """
    shapes = {}
    for text in texts:
        sign = ":" if ":" in text and "=" not in text.rpartition(":")[2] else "="
        name, _, dims = text.rpartition(sign)
        sizes = [part.strip() for part in dims.replace("x", ",").split(",") if part.strip()]
        if not name or not all(size.isascii() and size.isdigit() for size in sizes):
            raise UsageError(
                f"{option} {text!r} is not NAME:d,d,...", hint="for example image:1,3,224,224"
            )
        shapes[name] = tuple(int(size) for size in sizes)
    return shapes


def parse_numbers(text: str, option: str, *, least: int) -> tuple[int, ...]:
    """Parse `N,N,...`, whole numbers from `least` on.

    Args:
        text: What was given.
        option: The option that took it, for error messages.
        least: The smallest that means something.

    Raises:
        UsageError: One of them is no such number.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(p.isascii() and p.isdigit() and len(p) < 10 and int(p) >= least for p in parts):
        raise UsageError(
            f"{option} {text!r} is not N,N,...", hint=f"whole numbers from {least} on, as 1,4"
        )
    return tuple(dict.fromkeys(int(part) for part in parts))


def parse_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Parse each `KEY=VALUE`.

    Raises:
        UsageError: One has no key or no equals sign.
    """
    pairs = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise UsageError(f"{option} {text!r} is not KEY=VALUE")
        pairs[key] = value
    return pairs


_INPUT_OPTIONS = (
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="Sample inputs for verification: an .npz (arrays by input name), an .npy, or a folder "
        "of them.",
    ),
    click.option(
        "--input-shape",
        "input_shapes",
        multiple=True,
        metavar="NAME:d,d,...",
        help="Shape of generated inputs; it never changes the model. Repeatable.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Seed of everything random.",
    ),
    click.option(
        "--external-data-root",
        type=click.Path(path_type=Path),
        help="Follow links among the external data inside this folder.",
    ),
)

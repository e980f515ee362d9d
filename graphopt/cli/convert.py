"""graphopt convert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from graphopt.cli.changing import Request, carry_out, change_options
from graphopt.cli.values import parse_shapes
from graphopt.errors import UsageError

if TYPE_CHECKING:  # imported when they are used: --help must not wait for onnx
    from graphopt.engine.changing import ChangeResult, ProofOptions
    from graphopt.model import Model

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@click.command("convert")
@click.option("--opset", type=click.IntRange(min=1), metavar="N", help="Raise the opset to N.")
@click.option(
    "--fix-shape",
    "shapes",
    multiple=True,
    metavar="NAME:d,d,...",
    help="Fix all sizes of an input. Repeatable.",
)
@click.option(
    "--fix-dim",
    "dims",
    multiple=True,
    metavar="NAME=N",
    help="Fix a named dimension, such as batch=1, wherever it occurs. Repeatable.",
)
@click.option(
    "--dynamic-batch",
    is_flag=True,
    help="Open dimension 0 of every input, and take the batch from there where it is baked in.",
)
@click.option("--inline-functions", is_flag=True, help="Replace calls of local functions.")
@click.option(
    "--external-data",
    "external",
    metavar="BYTES|inside",
    help="Weights of so many bytes (suffixes K, M, G) go to a file beside the model, smaller ones "
    "inside it; `inside` takes all in. 0 moves all but those from which shapes are read.",
)
@change_options
def command(
    opset: int | None,
    shapes: tuple[str, ...],
    dims: tuple[str, ...],
    dynamic_batch: bool,
    inline_functions: bool,
    external: str | None,
    **options: Any,
) -> int:
    """Change MODEL on purpose, and prove that nothing else changed.

    The changes are made in this order: functions, opset, sizes, batch, external data. The result
    is compared with the original on inputs that fit both. After --dynamic-batch it is run at
    batches of 1, 2, 3 and more, and must give what the original gives piece by piece. A result that
    could not be verified is not written, and the exit code is 1, unless --allow-unverified.
    """
    fixed, sizes = parse_shapes(shapes, "--fix-shape"), parse_dims(dims)
    place = parse_threshold(external)

    def change(model: Model, proof: ProofOptions) -> ChangeResult:
        from graphopt.engine.conversion import Conversion
        from graphopt.engine.convert import convert_model

        wanted = Conversion(inline_functions, opset, fixed, sizes, dynamic_batch, place)
        return convert_model(model, wanted, proof)

    return carry_out(Request(**options), change)


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """Parse `NAME=N`; the last equals sign splits.

    Raises:
        UsageError: No name or no whole number, or a name with two sizes.
    """
    sizes: dict[str, int] = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not (size.isascii() and size.isdigit()):
            raise UsageError(f"--fix-dim {text!r} is not NAME=N", hint="for example batch=1")
        if sizes.setdefault(name, int(size)) != int(size):
            raise UsageError(f"--fix-dim {name} is given as both {sizes[name]} and {size}")
    return sizes


def parse_threshold(text: str | None) -> int | Literal["inside"] | None:
    """Parse bytes with a suffix, or the word for no external data.

    Raises:
        UsageError: Neither.
    """
    if text is None:
        return None
    if text.lower() in ("inside", "none"):
        return "inside"
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if unit not in _UNITS or not (number.isascii() and number.isdigit()):
        raise UsageError(
            f"--external-data {text!r} is no number of bytes", hint="for example 1M, 0 or inside"
        )
    return int(number) * _UNITS[unit]

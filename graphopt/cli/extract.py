"""graphopt extract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from graphopt.cli.changing import Request, carry_out, change_options
from graphopt.errors import UsageError

if TYPE_CHECKING:  # imported when they are used: --help must not wait for onnx
    from graphopt.engine.changing import ChangeResult, ProofOptions
    from graphopt.model import Model


@click.command("extract")
@click.option(
    "--inputs",
    multiple=True,
    metavar="NAME,...",
    help="Tensors to start from; those of the model's inputs that are needed when left out.",
)
@click.option(
    "--outputs", multiple=True, required=True, metavar="NAME,...", help="Tensors to compute."
)
@change_options
def command(inputs: tuple[str, ...], outputs: tuple[str, ...], **options: Any) -> int:
    """Cut out the part of MODEL that computes some of its tensors from others, and prove it.

    MODEL runs with its inner tensors as outputs; what the part takes is fed to it, and what it
    computes must be the same. --data and --input-shape are of MODEL's own inputs. A result that
    could not be verified is not written, and the exit code is 1, unless --allow-unverified.
    """
    starts = parse_names(inputs, "--inputs") if inputs else None
    ends = parse_names(outputs, "--outputs")

    def change(model: Model, proof: ProofOptions) -> ChangeResult:
        from graphopt.engine.extract import extract_model

        return extract_model(model, starts, ends, proof)

    return carry_out(Request(**options), change)


def parse_names(texts: Sequence[str], option: str) -> list[str]:
    """Split lists of names at their commas.

    Raises:
        UsageError: An empty name.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    if not all(names):
        raise UsageError(f"{option} {','.join(texts)!r} has an empty name in it")
    return names

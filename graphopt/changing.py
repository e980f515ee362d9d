"""The Python API for changing a model on purpose: convert, extract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from graphopt.api import Source, load
from graphopt.engine.changing import ChangeResult, ProofOptions
from graphopt.engine.conversion import Conversion
from graphopt.engine.convert import convert_model
from graphopt.engine.extract import extract_model
from graphopt.errors import UsageError
from graphopt.verify.data import check_data
from graphopt.verify.inputs import Feeds


def convert(
    model: Source,
    *,
    opset: int | None = None,
    fix_shapes: Mapping[str, Sequence[int]] | None = None,
    fix_dims: Mapping[str, int] | None = None,
    dynamic_batch: bool = False,
    inline_functions: bool = False,
    external_data: int | Literal["inside"] | None = None,
    data: Sequence[Feeds] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    verify: bool = True,
    progress: Callable[[str], None] | None = None,
) -> ChangeResult:
    """Change a model on purpose, and prove that nothing else changed.

    Args:
        model: What to change; it is not changed itself.
        opset: Raise the opset of the standard domain to this.
        fix_shapes: All sizes of an input, by its name.
        fix_dims: Sizes of named dimensions.
        dynamic_batch: Open dimension 0 of every input, and take the batch from there where it is
            baked in. The result is then compared at several batches with the original, run piece
            by piece.
        inline_functions: Replace calls of local functions by what they stand for.
        external_data: Bytes from which weights go to a file beside the model when the result is
            saved; "inside" takes them all into it.
        data: Input sets (arrays by input name) for the comparison, instead of generated ones; of
            the shapes that are fixed, at the batch that the model was made for.
        input_shapes: Shapes for generated inputs; they never change the model.
        seed: Seed of generated inputs.
        verify: False leaves the comparison out; the report then says "unverified".
        progress: Called with a few words whenever something new is begun.

    Returns:
        The model and the report. `report.status` is "verified", "unverified" or "failed"; a result
        that failed is given back too, for a look at it.

    Raises:
        graphopt.errors.GraphoptError: Bad input, or a change that does not fit the model.
    """
    wanted = Conversion(
        inline_functions, opset, dict(fix_shapes or {}), dict(fix_dims or {}), dynamic_batch,
        external_data,
    )  # fmt: skip
    return convert_model(load(model), wanted, _proof(data, input_shapes, seed, verify, progress))


def extract(
    model: Source,
    *,
    outputs: Sequence[str],
    inputs: Sequence[str] | None = None,
    data: Sequence[Feeds] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    verify: bool = True,
    progress: Callable[[str], None] | None = None,
) -> ChangeResult:
    """Cut out the part of a model that computes some of its tensors from others, and prove it.

    Args:
        model: The whole; it is not changed.
        outputs: Tensors of the main graph to compute.
        inputs: Tensors of the main graph to start from; the model's inputs that are needed by
            default.
        data: Input sets of the whole model for the comparison, instead of generated ones.
        input_shapes: Shapes for generated inputs of the whole model.
        seed: Seed of generated inputs.
        verify: False leaves the comparison out; the report then says "unverified".
        progress: Called with a few words whenever something new is begun.

    Returns:
        The piece and the report.

    Raises:
        graphopt.errors.GraphoptError: Bad input, or names between which there is no such part.
    """
    for side, names in (("outputs", outputs), ("inputs", inputs)):
        if isinstance(names, str):
            raise UsageError(f"{side} is a text", hint=f"give a list: [{names!r}]")
    proof = _proof(data, input_shapes, seed, verify, progress)
    return extract_model(load(model), inputs, outputs, proof)


def _proof(
    data: Sequence[Feeds] | None,
    shapes: Mapping[str, Sequence[int]] | None,
    seed: int,
    verify: bool,
    progress: Callable[[str], None] | None,
) -> ProofOptions:
    return ProofOptions(
        seed=seed,
        data=None if data is None else lambda specs: check_data(data, specs),
        shapes=shapes or {},
        verify=verify,
        progress=progress or (lambda what: None),
    )

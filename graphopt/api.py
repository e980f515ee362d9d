"""The Python API: load, optimize, compare, inspect, save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from onnx import ModelProto

from graphopt.contract import AnyPass, Effect, Target
from graphopt.engine import (
    OptimizeOptions,
    OptimizeResult,
    PassSpec,
    Recipe,
    load_recipe,
    optimize_model,
    parse_pass,
    recipe_of,
)
from graphopt.engine.changing import ChangeResult
from graphopt.errors import UsageError
from graphopt.graph import annotate, build_program, graph_view, measure
from graphopt.model import Model, SaveOptions, load_model, save_model
from graphopt.report import ModelStats, Verification
from graphopt.report.requirement import check_measurable, parse_requirement
from graphopt.runtime import shared_runtime
from graphopt.verify import Verifier, VerifyOptions, input_specs
from graphopt.verify.data import check_data
from graphopt.verify.inputs import Feeds, check_shapes

Source = str | Path | bytes | ModelProto | Model


def load(source: Source, *, external_data_root: str | Path | None = None) -> Model:
    """Read a model; its weights stay on disk until something needs them.

    Args:
        source: A path, the bytes of a file, a ModelProto, or a Model (given back as it is).
        external_data_root: Follow links among the external data inside this folder.

    Raises:
        graphopt.errors.FileError: It is missing, unreadable, or not an ONNX model.
    """
    if isinstance(source, Model):
        return source
    root = None if external_data_root is None else Path(external_data_root)
    return load_model(source, external_data_root=root)


def optimize(
    model: Source,
    recipe: str | Path | Recipe | None = None,
    *,
    passes: Sequence[str | AnyPass] | None = None,
    data: Sequence[Feeds] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    target: Literal["cpu", "cuda"] = "cpu",
    opset: int | Literal["auto"] | None = None,
    exclude_nodes: Sequence[str] = (),
    keep_outputs: Sequence[str] | None = None,
    require: Sequence[str] = (),
    provenance: bool = False,
    verify: bool = True,
    progress: Callable[[str], None] | None = None,
) -> OptimizeResult:
    """Optimise a model and prove the result.

    Args:
        model: What to optimise; it is not changed.
        recipe: A built-in recipe's name, a TOML file, or a Recipe; "exact" by default.
        passes: Passes to run instead of a recipe (or after it, when both are given): names as the
            command line takes them, or pass objects such as `FuseConvBatchnorm()`.
        data: Input sets (arrays by input name) for verification, instead of generated ones.
        input_shapes: Shapes for generated inputs; they never change the model.
        seed: Seed of everything random.
        target: Execution provider the result is meant for.
        opset: Raise the opset to this first; without it, it stays.
        exclude_nodes: Shell-style patterns of node names or labels; these nodes are left alone.
        keep_outputs: The only outputs to keep; the others are dropped before the recipe runs.
        require: Conditions on the result; `report.requirements` says which of them are met.
        provenance: Write version, recipe and the source's digest into the result's metadata.
        verify: False leaves the comparison out; the report then says "unverified".
        progress: Called with a few words whenever something new is begun.

    Returns:
        The model and the report. `report.status` is "verified", "unverified" or "failed"; a
        rewrite that failed a check was taken back and is listed in `report.left_out`.

    Raises:
        graphopt.errors.GraphoptError: Bad input, an unknown recipe or pass, or a pass that raised.
    """
    loaded = load(model)
    options = _options(
        loaded, data, input_shapes, keep_outputs, _listed("require", require), seed=seed,
        exclude_nodes=_listed("exclude_nodes", exclude_nodes), target=_target(target), opset=opset,
        provenance=provenance, verify=verify, progress=progress or (lambda what: None),
    )  # fmt: skip
    return optimize_model(loaded, _recipe(recipe, passes), options)


def compare(
    original: Source,
    other: Source,
    *,
    data: Sequence[Feeds] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> Verification:
    """Compare two models: signature, checker, and numbers on the same inputs.

    Args:
        original: The reference.
        other: What is compared with it.
        data: Input sets, instead of generated ones.
        input_shapes: Shapes for generated inputs.
        seed: Seed of generated inputs.

    Returns:
        One row per property and output, and the overall status.

    Raises:
        graphopt.errors.GraphoptError: One of them cannot be read, or the data does not run.
    """
    first, second = load(original), load(other)
    program = build_program(first)
    annotate(program, first.proto)
    specs = input_specs(first.proto)
    options = VerifyOptions(
        seed=seed,
        data=None if data is None else check_data(data, specs),
        shapes=check_shapes(input_shapes or {}, specs),
    )
    with Verifier(first, graph_view(program.main, program), shared_runtime(), options) as verifier:
        return verifier.check(second, Effect.ROUNDING)


def inspect(
    model: Source, *, input_shapes: Mapping[str, Sequence[int]] | None = None
) -> ModelStats:
    """Count what a model is made of, without running it.

    Args:
        model: The model.
        input_shapes: Shapes at which MACs and activations are counted.

    Raises:
        graphopt.errors.GraphoptError: It cannot be read.
    """
    loaded = load(model)
    return measure(loaded, check_shapes(input_shapes or {}, input_specs(loaded.proto)))


def save(
    model: Model | OptimizeResult | ChangeResult,
    path: str | Path,
    *,
    external_threshold: int | None = None,
) -> Path:
    """Write a model; a former file stays whole until the new one is complete.

    Args:
        model: A model, or the result of `optimize`, `convert` or `extract`.
        path: The .onnx file. External data goes to `<path>.<digest>.data` beside it.
        external_threshold: Bytes from which a tensor goes to that file. By default weights stay
            where the source had them, inside or outside, unless they no longer fit inside; those
            of `convert` go where it was told.

    Raises:
        graphopt.errors.FileError: It cannot be written.
    """
    if isinstance(model, ChangeResult) and external_threshold is None:
        external_threshold = model.external_threshold
    what = model if isinstance(model, Model) else model.model
    return save_model(what, path, SaveOptions(external_threshold=external_threshold))


def _listed(name: str, texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise UsageError(f"{name} is a text", hint=f"give a list: [{texts!r}]")
    return texts


def _options(
    model: Model,
    data: Sequence[Feeds] | None,
    shapes: Mapping[str, Sequence[int]] | None,
    keep_outputs: Sequence[str] | None,
    require: Sequence[str],
    **others: Any,
) -> OptimizeOptions:
    """The engine's options, out of what a user wrote by hand."""
    specs = input_specs(model.proto)
    requirements = [parse_requirement(text) for text in require]
    check_measurable(requirements, "optimize")
    return OptimizeOptions(
        data=None if data is None else check_data(data, specs),
        shapes=check_shapes(shapes or {}, specs),
        keep_outputs=None if keep_outputs is None else _listed("keep_outputs", keep_outputs),
        requirements=requirements,
        **others,
    )


def _target(provider: str) -> Target:
    known: tuple[Literal["cpu", "cuda"], ...] = ("cpu", "cuda")
    for name in known:
        if provider == name:
            return Target(provider=name)
    raise UsageError(f"unknown target {provider!r}", hint=f"one of: {', '.join(known)}")


def _recipe(recipe: str | Path | Recipe | None, passes: Sequence[str | AnyPass] | None) -> Recipe:
    if recipe is None and passes is None:
        recipe = "exact"
    base = recipe if isinstance(recipe, Recipe | None) else load_recipe(recipe)
    if passes is None:
        assert base is not None
        return base
    if isinstance(passes, str):
        raise UsageError("passes is a text", hint=f"give a list: [{passes!r}]")
    if not passes:
        raise UsageError("passes is empty", hint='leave it out for the recipe "exact"')
    specs = [_spec(item) for item in passes]
    return recipe_of(specs) if base is None else base.extended(specs)


def _spec(item: str | AnyPass) -> PassSpec:
    if isinstance(item, type):
        raise UsageError(f"{item.__name__} is a class", hint=f"give an object: {item.__name__}()")
    if isinstance(item, str):
        return PassSpec(*parse_pass(item))
    return PassSpec.of(item)

"""What every pass promises, as plain functions: `check_pass(MyPass())` holds a pass to all of it.

A plug-in's author can call them in a test; each raises AssertionError with the promise broken.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto

import graphopt
from graphopt.contract import AnyPass, Effect
from graphopt.engine import OptimizeResult, PassSpec
from graphopt.engine.registry import class_of
from tests.passes.piece import Piece
from tests.passes.pieces import PIECES
from tests.passes.situations import SITUATIONS
from tests.passes.support import Array, Feeds, Scope, close, random_feeds

WHOLE = ("first", "more")
"""Pieces that every pass is checked around in all situations."""


def check_pass(instance: AnyPass, *pieces: Piece) -> None:
    """Hold a pass to every promise, in every situation.

    Args:
        instance: The pass, with its options.
        pieces: Graphs of your own in which it finds something to do; around these, too.
    """
    check_declaration(instance)
    own = {f"own {number}": piece for number, piece in enumerate(pieces, 1)}
    for name, piece in {**PIECES, **own}.items():
        for situation in SITUATIONS if name in WHOLE or name in own else ("plain",):
            model = SITUATIONS[situation](piece, instance)
            try:
                check_situation(instance, model)
                if situation == "plain":
                    check_deterministic(instance, model)
            except AssertionError as error:
                where = f"situation {situation!r} of piece {name!r}"
                raise AssertionError(f"{instance.name}, {where}: {error}") from error


def check_situation(instance: AnyPass, model: ModelProto) -> OptimizeResult:
    """Run a pass on a model and check what comes out; give the result."""
    kept = model.SerializeToString(deterministic=True)
    result = graphopt.optimize(model, passes=[instance])
    assert model.SerializeToString(deterministic=True) == kept, "the model given was changed"
    check_verified(instance, result)
    if not result.report.changed:
        assert result.model.proto.SerializeToString(deterministic=True) == kept, "an edit not told"
        check_own_bytes(instance, model)
        return result
    check_signature(model, result.model.proto)
    check_answers(instance, model, result.model.proto)
    check_names(result.model.proto)
    if instance.effect is not Effect.LOSSY:
        check_second_run(instance, result)
    return result


def check_declaration(instance: AnyPass) -> None:
    """Check name, effect, frozen fields, and that the fields survive a recipe's text."""
    kind = type(instance)
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", instance.name), "name is not verb_object"
    assert kind.__name__ == class_of(instance.name), "class and name differ"
    assert isinstance(instance.effect, Effect)
    assert dataclasses.is_dataclass(instance), "a pass is a dataclass"
    assert getattr(kind, "__dataclass_params__").frozen, "a pass is frozen"  # noqa: B009
    assert inspect.getdoc(kind), "a pass says what it does"
    assert isinstance(instance, type(PassSpec.of(instance).make()))


def check_verified(instance: AnyPass, result: OptimizeResult) -> None:
    """Check that graphopt's own verification found nothing, and had nothing to take back."""
    report = result.report
    assert report.left_out == [], f"taken back: {report.left_out}"
    assert all(stage.fixed_point for stage in report.stages), "no fixed point"
    if instance.effect is not Effect.LOSSY and report.status != "verified":
        # An output that is the same for any input proves nothing; check_answers compares it.
        checks = report.stages[-1].verification.checks
        doubts = [check for check in checks if check.status != "ok"]
        assert {check.detail for check in doubts} == {"does not vary over the inputs"}, doubts
        assert len([check for check in checks if check.max_abs is not None]) > len(doubts)
    assert report.changed == bool(report.rewrites()[instance.name])


def check_signature(before: ModelProto, after: ModelProto) -> None:
    """Check that inputs, outputs and defaults are the very same, and the model is valid."""
    onnx.checker.check_model(after, full_check=True)
    assert after.graph.input == before.graph.input, "inputs changed"
    assert after.graph.output == before.graph.output, "outputs changed"
    assert after.opset_import == before.opset_import, "opsets changed"
    assert after.ir_version == before.ir_version, "IR version changed"
    inputs = {info.name for info in before.graph.input}
    defaults = [t for t in before.graph.initializer if t.name in inputs]
    assert [t for t in after.graph.initializer if t.name in inputs] == defaults, "defaults changed"


def check_answers(instance: AnyPass, before: ModelProto, after: ModelProto) -> None:
    """Compare outputs without graphopt; a lossy pass must give finite ones, of the same types."""
    feeds = [random_feeds(before, seed) for seed in range(4)]
    inputs = {info.name: info for info in before.graph.input}
    if len(feeds[0]) < len(inputs):
        # Callers may override every default.
        bare = ModelProto.FromString(before.SerializeToString())
        del bare.graph.initializer[:]
        feeds += [
            {name: np.asarray(np.abs(value)) for name, value in random_feeds(bare, seed).items()}
            for seed in range(2)
        ]
    names = [info.name for info in before.graph.output]
    for expected, found in zip(_answers(before, feeds), _answers(after, feeds), strict=True):
        for name, a, b in zip(names, expected, found, strict=True):
            if instance.effect is not Effect.LOSSY:
                close(a, b, name, exact=instance.effect is Effect.IDENTICAL)
                continue
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert np.isfinite(b).all() or not np.isfinite(a).all()


def _answers(model: ModelProto, feeds: Iterable[Feeds]) -> list[list[Array]]:
    """A model's outputs for each of the feeds, with nothing optimised on the way."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [list(session.run(None, feed)) for feed in feeds]


def check_names(model: ModelProto) -> None:
    """Check that no name is defined twice, also where the checker does not look."""
    scopes: list[Scope] = [model.graph, *model.functions]
    for scope in scopes:
        names = [name for node in scope.node for name in node.output if name]
        if isinstance(scope, onnx.GraphProto):
            names += [tensor.name for tensor in scope.initializer]
        assert len(set(names)) == len(names), "a name is defined twice"


def check_second_run(instance: AnyPass, result: OptimizeResult) -> None:
    """Check that a second run makes no edit and gives back the very same model."""
    again = graphopt.optimize(result.model, passes=[instance], verify=False)
    assert again.report.rewrites() == {instance.name: 0}, "a second run made an edit"
    assert again.model is result.model


def check_deterministic(instance: AnyPass, model: ModelProto) -> None:
    """Check that another run gives the same bytes."""
    first, second = (
        graphopt.optimize(model, passes=[instance], verify=False).model.to_bytes() for _ in range(2)
    )
    assert first == second, "another run gave other bytes"


def check_own_bytes(instance: AnyPass, model: ModelProto) -> None:
    """Check that a model that the pass leaves alone is saved as its source's own bytes."""
    # Valid protobuf, but not as any writer would write it: the graph first, then the rest.
    head = ModelProto.FromString(model.SerializeToString())
    head.ClearField("graph")
    own = ModelProto(graph=model.graph).SerializeToString() + head.SerializeToString()
    assert own != model.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.onnx"), Path(folder, "target.onnx")
        source.write_bytes(own)
        result = graphopt.optimize(source, passes=[instance], verify=False)
        assert not result.report.changed
        graphopt.save(result, target)
        assert target.read_bytes() == own, "an untouched model was saved as other bytes"

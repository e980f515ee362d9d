"""Dropping outputs of a model on purpose."""

from __future__ import annotations

from collections.abc import Collection

from onnx import GraphProto, ModelProto

from graphopt.errors import UsageError
from graphopt.graph.closest import closest
from graphopt.model import Model
from graphopt.model.messages import copy_but


def keep_outputs(model: Model, names: Collection[str]) -> Model:
    """A model that gives only some of its outputs, in the order they have.

    Nodes and weights stay, also those that fed what was dropped: removing them is up to passes.

    Args:
        model: The model.
        names: The outputs to keep.

    Returns:
        The very model given when nothing is dropped.

    Raises:
        UsageError: No name, or one that is no output of the model.
    """
    outputs = [info.name for info in model.proto.graph.output]
    if not names:
        raise UsageError("no output is kept", hint=closest("", outputs))
    for name in names:
        if name not in outputs:
            hint = f"{closest(name, outputs)}; `graphopt extract` gives values inside the model"
            raise UsageError(f"{name!r} is not an output of the model", file=model.path, hint=hint)
    if all(output in names for output in outputs):
        return model
    result = ModelProto()
    copy_but(result, model.proto, {"graph"})
    result.graph.CopyFrom(_trimmed(model.proto.graph, names))
    return model.with_proto(result)


def _trimmed(source: GraphProto, names: Collection[str]) -> GraphProto:
    result = GraphProto()
    copy_but(result, source, {"output"})
    computed = {name for node in source.node for name in node.output}
    typed = {info.name for info in source.value_info}
    for info in source.output:
        if info.name in names:
            result.output.append(info)
        elif info.name in computed - typed:
            # The value may stay, for others that read it: so does what is known of its type.
            result.value_info.append(info)
    return result

"""Constant evaluation: one node on known inputs, in the runtime process, within limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from graphopt.contract import Array, NodeView, Skip
from graphopt.errors import GraphoptError, RuntimeFailure
from graphopt.model.tensor import element_type, is_native, tensor_from_array
from graphopt.runtime.direct import evaluate_directly
from graphopt.runtime.isolated import Backend, IsolatedRuntime

_DIVISIONS = frozenset({"Div", "Mod"})
_BACKENDS: tuple[Backend, ...] = ("onnxruntime", "reference")
_EMBEDDED_BYTES = 4096
"""Operands up to this size travel as initializers: inference then knows the result's size."""


class NodeEvaluator:
    """Evaluates a node: with numpy where that is known to be exact, else in the runtime process.

    There with ONNX Runtime's own kernels, else with onnx.reference.

    The size of a result is inferred from the actual operands before anything is computed.

    Args:
        runtime: Where the kernels run.
        max_bytes: Inputs or outputs above this size are refused.
    """

    def __init__(self, runtime: IsolatedRuntime, max_bytes: int = 1 << 28) -> None:
        self._runtime = runtime
        self._max_bytes = max_bytes

    def __call__(self, node: NodeView, inputs: Sequence[Array | None]) -> Sequence[Array] | Skip:
        """See contract.Evaluator."""
        refused = self._refuse(node, inputs)
        if refused:
            return refused
        direct = evaluate_directly(node, inputs, self._max_bytes)
        if direct is not None:
            return self._accept([direct], node)
        try:
            model, feeds = _one_node_model(node, inputs)
        except (GraphoptError, ValueError, TypeError) as error:
            return Skip(f"evaluation: {_line(str(error))}")
        names = [output.name for output in model.graph.output]
        # ONNX Runtime cannot be fed numpy's missing types; onnx.reference has them all.
        plain = all(is_native(array.dtype) for array in feeds.values())
        failure = ""
        for backend in _BACKENDS if plain else _BACKENDS[1:]:
            try:
                results = self._runtime.run_once(
                    model.SerializeToString(), feeds, names,
                    backend=backend, max_bytes=self._max_bytes,
                )  # fmt: skip
            except RuntimeFailure as error:
                if error.kind in ("crash", "timeout"):
                    return Skip(f"evaluation: {error.message}")
                failure = failure or error.message
                continue
            return self._accept([results[name] for name in names], node)
        return Skip(f"evaluation: {_line(failure)}")

    def _refuse(self, node: NodeView, inputs: Sequence[Array | None]) -> Skip | None:
        if sum(array.nbytes for array in inputs if array is not None) > self._max_bytes:
            return Skip("inputs too large to evaluate")
        if node.op_type in _DIVISIONS and len(inputs) == 2 and _traps(inputs[0], inputs[1]):
            return Skip("integer division that overflows or divides by zero")
        return None

    def _accept(self, results: Sequence[object], node: NodeView) -> Sequence[Array] | Skip:
        if not all(isinstance(result, np.ndarray) for result in results):
            return Skip("evaluation: the result is no tensor")
        arrays = [np.asarray(result) for result in results]
        if sum(array.nbytes for array in arrays) > self._max_bytes:
            return Skip("result too large")
        outputs = [value for value in node.outputs if value is not None]
        for array, value in zip(arrays, outputs, strict=True):
            if value.dtype is not None and array.dtype != value.dtype:
                return Skip(f"evaluation gives {array.dtype}, inference says {value.dtype}")
        return arrays


def _traps(dividend: Array | None, divisor: Array | None) -> bool:
    """Integer division by zero, or of the lowest integer by -1, kills the process."""
    if dividend is None or divisor is None or divisor.dtype.kind not in "iu":
        return False
    if (divisor == 0).any():
        return True
    if divisor.dtype.kind == "u" or not (divisor == -1).any() or not dividend.size:
        return False
    return bool(dividend.min() == np.iinfo(dividend.dtype).min)


def _one_node_model(
    node: NodeView, inputs: Sequence[Array | None]
) -> tuple[ModelProto, dict[str, Array]]:
    """A model of that one node, and what to feed it; small operands are part of it."""
    names = [f"i{index}" if array is not None else "" for index, array in enumerate(inputs)]
    outputs = [f"o{index}" if value is not None else "" for index, value in enumerate(node.outputs)]
    original: NodeProto = node.to_proto()
    proto = NodeProto(op_type=node.op_type, domain=node.domain, input=names, output=outputs)
    for attribute in original.attribute:
        copy = proto.attribute.add()
        copy.CopyFrom(attribute)
        if attribute.t.data_location == TensorProto.EXTERNAL:
            copy.t.CopyFrom(tensor_from_array(node.attribute(attribute.name), ""))
    feeds, stored, infos = {}, [], []
    for name, array in zip(names, inputs, strict=True):
        if array is None:
            continue
        if array.nbytes <= _EMBEDDED_BYTES:
            stored.append(tensor_from_array(array, name))
        else:
            feeds[name] = array
            elem = element_type(array.dtype)
            infos.append(helper.make_tensor_value_info(name, elem, list(array.shape)))
    results = [ValueInfoProto(name=name) for name in outputs if name]
    graph = helper.make_graph([proto], "node", infos, results, stored)
    imports = [helper.make_opsetid(node.domain, node.graph.opset(node.domain))]
    if node.domain:
        imports.append(helper.make_opsetid("", node.graph.opset("")))
    return helper.make_model(graph, opset_imports=imports, ir_version=10), feeds


def _line(text: str) -> str:
    lines = text.splitlines()
    return lines[0][:120] if lines else "failed"

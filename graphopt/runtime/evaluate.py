"""Constant evaluation: one node on known inputs, in the runtime process, within limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, helper

from graphopt.contract import Array, NodeView, Skip
from graphopt.errors import RuntimeFailure
from graphopt.model.tensor import element_type, tensor_from_array
from graphopt.runtime.isolated import Backend, IsolatedRuntime

_DIVISIONS = frozenset({"Div", "Mod"})
_BACKENDS: tuple[Backend, ...] = ("onnxruntime", "reference")


class NodeEvaluator:
    """Evaluates a node with ONNX Runtime's own kernels, else with onnx.reference.

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
        model = _one_node_model(node, inputs)
        feeds = {i.name: a for i, a in zip(model.graph.input, _given(inputs), strict=True)}
        names = [output.name for output in model.graph.output]
        failure = ""
        # ONNX Runtime's Python interface lacks numpy's missing types, both ways.
        plain = all(array.dtype.isbuiltin or array.dtype.kind == "O" for array in feeds.values())
        plain &= all(v is None or v.dtype is None or v.dtype.isbuiltin for v in node.outputs)
        for backend in _BACKENDS if plain else _BACKENDS[1:]:
            try:
                results = self._runtime.run_once(
                    model.SerializeToString(), feeds, names, backend=backend
                )
            except RuntimeFailure as error:
                if error.kind in ("crash", "timeout"):
                    return Skip(f"evaluation: {error.message}")
                failure = error.message
                continue
            return self._accept([results[name] for name in names], node)
        return Skip(f"evaluation: {failure.splitlines()[0][:120] if failure else 'failed'}")

    def _refuse(self, node: NodeView, inputs: Sequence[Array | None]) -> Skip | None:
        if sum(array.nbytes for array in _given(inputs)) > self._max_bytes:
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


def _given(inputs: Sequence[Array | None]) -> list[Array]:
    return [array for array in inputs if array is not None]


def _traps(dividend: Array | None, divisor: Array | None) -> bool:
    """Integer division by zero, or of the lowest integer by -1, kills the process."""
    if dividend is None or divisor is None or divisor.dtype.kind not in "iu":
        return False
    if (divisor == 0).any():
        return True
    if divisor.dtype.kind == "u" or not (divisor == -1).any() or not dividend.size:
        return False
    return bool(dividend.min() == np.iinfo(dividend.dtype).min)


def _one_node_model(node: NodeView, inputs: Sequence[Array | None]) -> ModelProto:
    names = [f"i{index}" if array is not None else "" for index, array in enumerate(inputs)]
    outputs = [f"o{index}" if value is not None else "" for index, value in enumerate(node.outputs)]
    proto = NodeProto(op_type=node.op_type, domain=node.domain, input=names, output=outputs)
    for name, value in node.attributes.items():
        if isinstance(value, np.ndarray):
            proto.attribute.add(
                name=name, type=AttributeProto.TENSOR, t=tensor_from_array(value, "")
            )
        else:
            proto.attribute.append(helper.make_attribute(name, value))
    infos = [
        helper.make_tensor_value_info(name, element_type(array.dtype), list(array.shape))
        for name, array in zip(names, inputs, strict=True)
        if array is not None
    ]
    results = []
    for name, value in zip(outputs, node.outputs, strict=True):
        if value is not None:
            info = helper.make_empty_tensor_value_info(name)
            dtype = value.dtype
            if dtype is not None:
                info.type.tensor_type.elem_type = element_type(dtype)
            else:
                info.ClearField("type")
            results.append(info)
    graph = helper.make_graph([proto], "node", infos, results)
    imports = [helper.make_opsetid(node.domain, node.graph.opset(node.domain))]
    if node.domain:
        imports.append(helper.make_opsetid("", node.graph.opset("")))
    return helper.make_model(graph, opset_imports=imports, ir_version=10)

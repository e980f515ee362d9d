"""Shape inference and the checker, in the runtime process: both are native code on untrusted input.

Data propagation keeps a symbol per element of every vector whose length is known, so that a file of
200 bytes can ask for any amount of memory; the child stops at a limit, and inference goes on
without it.
"""

from __future__ import annotations

import hashlib

from onnx import ModelProto

from graphopt.errors import RuntimeFailure
from graphopt.runtime.isolated import shared_runtime

_SECONDS = 20.0
_hopeless: set[bytes] = set()
"""Digests of models on which inference did not come to an end; nobody waits for them again."""


def infer(model: ModelProto) -> ModelProto:
    """The model with inferred types; the model itself where inference fails altogether."""
    content = model.SerializeToString()
    digest = hashlib.sha256(content).digest()
    for data_prop in (True, False):
        if digest in _hopeless:
            break
        try:
            answer = shared_runtime().ask_about(
                "infer", content, {"data_prop": data_prop, "strict": False}, _SECONDS
            )
        except RuntimeFailure as error:
            if error.kind == "timeout":
                _hopeless.add(digest)
            continue
        return ModelProto.FromString(answer)  # type: ignore[no-any-return, unused-ignore]
    return model


def convert(model: ModelProto, version: int) -> ModelProto:
    """The (weightless) model at another opset, by onnx's version converter.

    Raises:
        RuntimeFailure: It cannot be converted.
    """
    content = model.SerializeToString()
    answer = shared_runtime().ask_about("convert", content, {"version": version}, _SECONDS)
    return ModelProto.FromString(answer)  # type: ignore[no-any-return, unused-ignore]


def inline(model: ModelProto) -> ModelProto:
    """The (weightless) model with its local functions inlined, by onnx's inliner.

    Functions written for another opset than the model's are converted on the way.

    Raises:
        RuntimeFailure: They cannot be inlined.
    """
    found = _inlined(model, convert_version=False)
    if found.functions:
        # Conversion reads types, of values in the main graph too.
        found = _inlined(infer(found), convert_version=True)
    return found


def _inlined(model: ModelProto, *, convert_version: bool) -> ModelProto:
    answer = shared_runtime().ask_about(
        "inline", model.SerializeToString(), {"convert": convert_version}, _SECONDS
    )
    return ModelProto.FromString(answer)  # type: ignore[no-any-return, unused-ignore]


def checker_finding(model: ModelProto) -> str:
    """What onnx.checker says of a (weightless) model, empty when nothing."""
    return _finding("check", model, {})


def inference_finding(model: ModelProto) -> str:
    """What strict shape inference says of a (weightless) model, empty when nothing."""
    return _finding("infer", model, {"data_prop": True, "strict": True})


def _finding(action: str, model: ModelProto, options: dict[str, bool]) -> str:
    try:
        shared_runtime().ask_about(action, model.SerializeToString(), options, _SECONDS)
    except RuntimeFailure as error:
        return error.message[:300]
    return ""

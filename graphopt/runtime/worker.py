"""The runtime process: loads and runs models on request, and may die of one.

Started by `isolated.py`; speaks `wire.py` over its own two pipes, so that whatever a model prints
goes elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from graphopt.runtime import ort_values, sizes, wire

INFERENCE_BYTES = 1 << 30
"""Memory that shape inference may take on top of the process itself."""
MAX_RESULT_BYTES = 1 << 30
"""One run's outputs above this are refused, not sent."""

OPTIMIZATION_LEVELS = {"off": 0, "basic": 1, "extended": 2, "all": 99}


class _Sessions:
    """Models that are loaded, by number."""

    def __init__(self) -> None:
        self._open: dict[int, Any] = {}
        self._next = 0

    def open(self, header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        session = _load(header, header["path"])
        providers = header["providers"]
        if header["backend"] == "reference":
            inputs = [{"name": n, "type": "", "shape": []} for n in session.input_names]
            outputs = list(session.output_names)
        else:
            providers = session.get_providers()
            inputs = [
                {"name": i.name, "type": i.type, "shape": i.shape} for i in session.get_inputs()
            ]
            outputs = [output.name for output in session.get_outputs()]
        self._next += 1
        self._open[self._next] = session
        answer = {"inputs": inputs, "outputs": outputs, "providers": providers}
        return {"session": self._next, **answer}, {}

    def run(self, header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        return _run(self._open[header["session"]], header["outputs"], arrays)

    def run_once(self, header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        model = arrays.pop(wire.MODEL).tobytes()
        if header["max_bytes"] is not None:
            sizes.check_results(model, header["max_bytes"])
        return _run(_load(header, model), header["outputs"], arrays)

    def close(self, header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        self._open.pop(header["session"], None)
        return {}, {}


def _run(session: Any, names: list[str], arrays: dict[str, Any]) -> wire.Message:
    if hasattr(session, "get_providers"):
        results = ort_values.run(session, names, arrays)
    else:
        results = session.run(names, arrays)
    if sum(map(_nbytes, results)) > MAX_RESULT_BYTES:
        raise ValueError(f"results exceed {MAX_RESULT_BYTES >> 20} MiB")
    return {}, dict(zip(names, results, strict=True))


def _nbytes(value: Any) -> int:
    if isinstance(value, list | tuple):
        return sum(map(_nbytes, value))
    return int(getattr(value, "nbytes", 0))


def limit_memory() -> None:
    """Let a model that asks for too much fail here, before the machine runs out."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = max(4 << 30, physical // 2)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > limit:
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some limits
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _load(header: dict[str, Any], model: str | bytes) -> Any:
    if header["providers"] == ["CPUExecutionProvider"]:
        limit_memory()  # a GPU's address space would not fit under it
    if header["backend"] == "reference":
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(model)
    return _ort_session(header, model)


def _ort_session(header: dict[str, Any], model: str | bytes) -> Any:
    import onnxruntime as ort

    if header["providers"] != ["CPUExecutionProvider"] and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # NVIDIA's own wheels lie where the loader does not look
    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel(
        OPTIMIZATION_LEVELS[header["level"]]
    )
    options.intra_op_num_threads = header["threads"]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=header["providers"])


def _infer(header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
    import onnx

    strict = header["strict"]
    model = arrays[wire.MODEL].tobytes()
    data_prop = header["data_prop"] and not sizes.has_long_vectors(model)
    with _bounded_memory():
        found = onnx.shape_inference.infer_shapes(
            model, check_type=strict, strict_mode=strict, data_prop=data_prop
        )
    if strict:
        return {}, {}
    return {}, {wire.MODEL: np.frombuffer(found.SerializeToString(), np.uint8)}


def _check(header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
    import onnx

    with _bounded_memory():
        onnx.checker.check_model(arrays[wire.MODEL].tobytes())
    return {}, {}


def _convert(header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
    import onnx
    import onnx.version_converter

    model = onnx.ModelProto.FromString(arrays[wire.MODEL].tobytes())
    with _bounded_memory():
        found = onnx.version_converter.convert_version(model, header["version"])
    return {}, {wire.MODEL: np.frombuffer(found.SerializeToString(), np.uint8)}


def _inline(header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
    import onnx
    import onnx.inliner

    model = onnx.ModelProto.FromString(arrays[wire.MODEL].tobytes())
    with _bounded_memory():
        found = onnx.inliner.inline_local_functions(model, header["convert"])
    return {}, {wire.MODEL: np.frombuffer(found.SerializeToString(), np.uint8)}


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    """Let inference have INFERENCE_BYTES more than the process has now."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # neither Windows nor macOS tells
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * os.sysconf("SC_PAGE_SIZE") + INFERENCE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


Action = Callable[[dict[str, Any], dict[str, Any]], wire.Message]
"""Answers a request: its header and its arrays."""


def serve(requests: BinaryIO, replies: BinaryIO, further: Mapping[str, Action]) -> None:
    """Answer requests until the other end goes away.

    Args:
        requests: Where they come from.
        replies: Where the answers go.
        further: Actions on top of the worker's own, by name.
    """
    sessions = _Sessions()
    actions: dict[str, Action] = {
        "open": sessions.open,
        "run": sessions.run,
        "run_once": sessions.run_once,
        "close": sessions.close,
        "infer": _infer,
        "check": _check,
        "convert": _convert,
        "inline": _inline,
        **further,
    }
    while (message := wire.receive(requests)) is not None:
        header, arrays = message
        try:
            answer, results = actions[header["action"]](header, arrays)
        except Exception as error:  # whatever the runtime says of a model is the answer
            wire.send(replies, {"error": f"{type(error).__name__}: {error}"[:2000]}, {})
            continue
        wire.send(replies, answer, results)


def main(further: Mapping[str, Action] | None = None) -> None:
    """Serve on the inherited standard streams; move them out of the models' reach first.

    Args:
        further: Actions on top of the worker's own, by name.
    """
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    serve(requests, replies, further or {})

"""Whether a result that nobody ran loads at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from graphopt.errors import RuntimeFailure
from graphopt.model import Model, save_model
from graphopt.report import Check
from graphopt.runtime import IsolatedRuntime, Session
from graphopt.verify.baseline import first_line


def check_loads(original: Model, result: Model, runtime: IsolatedRuntime, limit: int) -> Check:
    """Open a session of a result, ONNX Runtime's optimisations off, and run nothing.

    Args:
        original: The model it was made from, which need not load either.
        result: The result.
        runtime: Where sessions are opened.
        limit: Bytes of weights above which nothing is loaded.

    Returns:
        A row named "loads": failed when the original loads and the result does not, not verified
        when neither does or when it was not tried.
    """
    if result.weight_bytes > limit:
        return Check("loads", "not verified", f"not tried: weights exceed {limit / 2**30:g} GiB")
    with tempfile.TemporaryDirectory(prefix="graphopt-verify-") as folder:
        refused = _refusal(result, Path(folder, "result.onnx"), runtime)
        if not refused:
            return Check("loads", "ok")
        if _refusal(original, Path(folder, "original.onnx"), runtime):
            return Check("loads", "not verified", "the original does not load either")
    return Check("loads", "failed", f"the original loads, the result does not: {refused}")


def _refusal(model: Model, path: Path, runtime: IsolatedRuntime) -> str:
    """Why a model does not load; empty when it does."""
    try:
        runtime.open(Session(save_model(model, path))).close()
    except RuntimeFailure as error:
        return first_line(error, path)
    return ""

"""What the tests of fusions share: small random constants, refusals, numbers rounded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper

from graphopt.contract import AnyPass
from tests.passes.support import Array, run


def normal(*shape: int, seed: int = 3, dtype: npt.DTypeLike = np.float32) -> Array:
    """Random numbers of the standard normal distribution."""
    made: Array = np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)
    return made


def f32(*values: float) -> Array:
    """A vector of float32."""
    return np.array(values, np.float32)


def kind(dtype: npt.DTypeLike) -> str:
    """How ONNX's text calls a type."""
    return TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(np.dtype(dtype))).lower()


def dims(array: Array) -> str:
    """How ONNX's text writes a shape; nothing for a scalar."""
    return f"[{','.join(map(str, array.shape))}]" if array.ndim else ""


def rounded_once(found: Array, exact: Array) -> None:
    """Assert that `found` is `exact`, rounded to its own type (half a unit, and a hair)."""
    info = np.finfo(found.dtype)
    unit = np.maximum(np.abs(exact) * float(info.eps), float(info.smallest_subnormal))
    # Float64 is computed in float64: each of a few operations rounds.
    share = 4.0 if found.dtype == np.float64 else 0.501
    assert found.shape == exact.shape
    assert (np.abs(found.astype(np.float64) - exact) <= share * unit).all()


def refused(model: ModelProto, instance: AnyPass, reason: str | None, count: int = 1) -> None:
    """Assert that nothing is done, and that the one refusal is counted with its reason."""
    outcome = run(model, instance)
    assert outcome.unchanged
    assert outcome.skipped == ({} if reason is None else {reason: count})
    assert outcome.left_out == []


Map = Callable[[Array], Array]


def forms(value: str) -> dict[str, tuple[Map, Map]]:
    """What each arithmetic node with a constant c makes of a value: a scale, and a shift."""
    shifts: dict[str, tuple[Map, Map]] = {
        f"Add({value}, c)": (np.ones_like, np.positive),
        f"Add(c, {value})": (np.ones_like, np.positive),
        f"Sub({value}, c)": (np.ones_like, np.negative),
        f"Sub(c, {value})": (lambda c: -np.ones_like(c), np.positive),
    }
    scales: dict[str, tuple[Map, Map]] = {
        f"Mul({value}, c)": (np.positive, np.zeros_like),
        f"Mul(c, {value})": (np.positive, np.zeros_like),
        f"Div({value}, c)": (np.reciprocal, np.zeros_like),
    }
    return {**shifts, **scales}


def typed(name: str, elem_type: int, values: Any, shape: tuple[int, ...]) -> TensorProto:
    """A tensor of a type that numpy lacks."""
    return helper.make_tensor(name, elem_type, shape, values)

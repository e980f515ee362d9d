"""A weight as 8-bit codes and scales: w is nearly code * scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.contract import Array
from graphopt.passes.quantize._blocks import blocks, part
from graphopt.passes.quantize._layouts import STEPS, Layout


@dataclass(frozen=True, slots=True)
class Quantized:
    """What is stored of a weight.

    Attributes:
        codes: int8, of the layout's `split_shape`, from -127 to 127.
        scales: Of the weight's dtype and the layout's `scale_shape`, positive and finite.
    """

    codes: Array
    scales: Array


def quantize(weight: Array, layout: Layout, contracted: Sequence[int] = ()) -> Quantized:
    """Round a weight to 8-bit codes.

    Each element is rounded to the nearest step. Where the operator that reads the weight adds up
    products along some axes, errors of one sign would add up too, times the mean of the other
    operand: there the point at which rounding goes up instead of down is shifted by the mean error,
    wherever that brings the sum of errors closer to zero. Like SQuant (arXiv 2202.07471), in one
    step. No error exceeds one step then, and half a step elsewhere.

    Args:
        weight: Finite float16, float32 or float64 values of `layout.shape`.
        layout: Where the scales stand.
        contracted: Axes of the weight along which its reader adds up products.
    """
    view = weight.reshape(layout.split_shape)
    scales = _scales(layout.peaks(weight), weight.dtype)
    summed = layout.split_axes(contracted)
    nowhere = np.zeros([1] * view.ndim)
    codes, error = _rounded(view, scales, nowhere, summed)
    if not summed:
        return Quantized(codes, scales)
    steps = np.broadcast_to(scales, view.shape).sum(summed, keepdims=True, dtype=np.float64)
    shifted, new_error = _rounded(view, scales, error / steps, summed)
    better = np.abs(new_error) < np.abs(error)
    return Quantized(np.where(better, shifted, codes), scales)


def _scales(peaks: Array, dtype: np.dtype[Any]) -> Array:
    """Steps that reach from each group's largest magnitude to zero; 1 where all of it is zero.

    Rounded up, so that no value lies beyond the last step, and kept where that step is finite.
    """
    exact, limits = peaks / STEPS, np.finfo(dtype)
    scales = exact.astype(dtype)
    scales = np.where(scales < exact, np.nextafter(scales, dtype.type(np.inf)), scales)
    largest = np.nextafter(dtype.type(float(limits.max) / STEPS), dtype.type(0))
    scales = np.clip(scales, limits.smallest_subnormal, largest)
    return np.where(peaks > 0, scales, 1).astype(dtype)


def _rounded(
    view: Array, scales: Array, shift: Array, summed: tuple[int, ...]
) -> tuple[Array, Array]:
    """Round to steps, a shift up or down first; give codes and errors added up over some axes."""
    wide = np.promote_types(view.dtype, np.float32)
    codes = np.empty(view.shape, np.int8)
    error = np.zeros([1 if axis in summed else size for axis, size in enumerate(view.shape)])
    for index in blocks(view.shape):
        step = part(scales, index).astype(wide)
        exact = view[index].astype(wide) / step
        found = np.clip(np.rint(exact + part(shift, index)), -STEPS, STEPS)
        codes[index] = found
        if summed:
            lost = (exact - found) * step
            part(error, index)[...] += lost.sum(summed, keepdims=True, dtype=np.float64)
    return codes, error

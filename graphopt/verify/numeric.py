"""Comparing outputs: a tolerance per dtype, a noise floor that may excuse but never approve.

An output is ok when it differs by less than its tolerance. The original's own response to an input
change of 1e-6 is its noise floor: within a few times that, rounding explains the difference, and
the output is "not verified", never ok by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from graphopt.contract import Array
from graphopt.model.tensor import is_floating
from graphopt.report import Check

Outputs = dict[str, Any]

_TOLERANCE = {8: 1e-9, 4: 1e-4, 2: 5e-3, 1: 0.1}
"""By bytes per element, relative to the tensor's largest value."""
_NOISE_FACTOR = 20.0
CONSTANT = "does not vary over the inputs"
NOISY = "differs, but by no more than the model's own noise"
NOISE = 1e-6
"""Relative change of the inputs that makes the noise floor."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one array is from its reference.

    Attributes:
        mismatch: Why the two cannot be compared (type, shape, NaN in one only), else empty.
        max_abs: Largest absolute difference.
        scale: Largest finite magnitude in the reference.
        equal: True when every bit agrees (any NaN equals any NaN).
        discrete: The mismatch is one of values that have no distance: integers, bools, strings.
    """

    mismatch: str = ""
    max_abs: float = 0.0
    scale: float = 0.0
    equal: bool = True
    discrete: bool = False

    @property
    def max_rel(self) -> float:
        """The difference relative to the largest value; 0 when both are zero."""
        if self.max_abs == 0.0:
            return 0.0
        return self.max_abs / self.scale if self.scale else float("inf")


def difference(reference: Any, result: Any) -> Difference:
    """Compare two values: arrays, sequences of arrays, or empty optionals."""
    if isinstance(reference, list) or isinstance(result, list):
        return _sequences(reference, result)
    if reference is None or result is None:
        return Difference("" if reference is result else "an optional is empty in one of them")
    a, b = np.asarray(reference), np.asarray(result)
    if a.dtype != b.dtype:
        return Difference(f"dtype {a.dtype} became {b.dtype}", equal=False)
    if a.shape != b.shape:
        return Difference(f"shape {a.shape} became {b.shape}", equal=False)
    if not is_floating(a.dtype) and a.dtype.kind != "c":
        same = bool((a == b).all())
        return Difference("" if same else "values differ", equal=same, discrete=not same)
    return _floats(a, b)


def _sequences(reference: Any, result: Any) -> Difference:
    if not isinstance(reference, list) or not isinstance(result, list):
        return Difference("a sequence in one of them only", equal=False)
    if len(reference) != len(result):
        return Difference(f"length {len(reference)} became {len(result)}", equal=False)
    parts = [difference(a, b) for a, b in zip(reference, result, strict=True)]
    return max(parts, key=lambda d: (bool(d.mismatch), d.max_rel), default=Difference())


def _floats(a: Array, b: Array) -> Difference:
    wide: Any = np.complex128 if a.dtype.kind == "c" else np.float64
    x, y = a.astype(wide), b.astype(wide)
    finite = np.isfinite(x)
    if (finite != np.isfinite(y)).any():
        return Difference("NaN or infinity in one of them only", equal=False)
    odd = ~finite
    # Infinities must agree in sign; NaN agrees with NaN.
    if odd.any() and not np.array_equal(x[odd], y[odd], equal_nan=True):
        return Difference("NaN or infinity in one of them only", equal=False)
    if not finite.any():
        return Difference()
    max_abs = float(np.abs(x[finite] - y[finite]).max())
    scale = float(np.abs(x[finite]).max())
    # 0.0 and -0.0 are equal numbers and different bits.
    signs = bool((np.signbit(x.real[finite]) == np.signbit(y.real[finite])).all())
    return Difference("", max_abs, scale, equal=bool((x[finite] == y[finite]).all()) and signs)


def compare_outputs(
    references: Sequence[Outputs], results: Sequence[Outputs], noise: Sequence[Outputs], *,
    exact: bool, constant: frozenset[str] = frozenset(), random: frozenset[str] = frozenset(),
) -> list[Check]:  # fmt: skip
    """Compare every output over all input sets.

    Args:
        references: The original's outputs, one mapping per input set.
        results: The candidate's.
        noise: The original's on inputs changed by NOISE; may be shorter or empty.
        exact: Ask for equal bits: only IDENTICAL rewrites were made.
        constant: Outputs that no input reaches: they cannot vary, one look is the whole proof.
        random: Outputs that the original itself gives differently from run to run.
    """
    rows = []
    for name in list(references[0]) if references else []:
        if name in random:
            rows.append(Check(name, "not verified", "differs from run to run in the original"))
            continue
        row = _check(name, references, results, noise, exact=exact)
        silent = name not in constant and row.status == "ok"
        if silent and not _varies([r[name] for r in references]):
            row = replace(row, status="not verified", detail=CONSTANT)
        rows.append(row)
    return rows


def _check(
    name: str, references: Sequence[Outputs], results: Sequence[Outputs],
    noise: Sequence[Outputs], *, exact: bool,
) -> Check:  # fmt: skip
    differences = [
        difference(a[name], b.get(name)) for a, b in zip(references, results, strict=True)
    ]
    wrong = next((d for d in differences if d.mismatch), None)
    if wrong is not None:
        return Check(name, "failed", wrong.mismatch)
    worst = max(differences, key=lambda d: d.max_rel)
    tolerance = _tolerance(references[0][name])
    status, detail = "ok", ""
    if exact:
        tolerance = 0.0
        if not all(d.equal for d in differences):
            status, detail = "failed", f"bits differ, by {worst.max_rel:.3g} of its largest value"
    elif worst.max_rel > tolerance:
        floor = _NOISE_FACTOR * _noise(name, references, noise)
        if worst.max_rel > floor:
            status, detail = "failed", f"differs by {worst.max_rel:.3g} of its largest value"
        else:
            status, detail = "not verified", NOISY
    return Check(name, status, detail, worst.max_abs, worst.max_rel, tolerance)  # type: ignore[arg-type]


def _tolerance(sample: Any) -> float:
    array = sample[0] if isinstance(sample, list) and sample else sample
    if not isinstance(array, np.ndarray):
        return 0.0
    if array.dtype.kind == "c":
        return _TOLERANCE[array.dtype.itemsize // 2]
    if not is_floating(array.dtype):
        return 0.0
    # Narrow types: one unit in the last place may flip whatever the mathematics.
    return max(_TOLERANCE[array.dtype.itemsize], 2 * resolution(array.dtype))


def resolution(dtype: np.dtype[Any]) -> float:
    """Distance from 1 to the next number of a floating-point type."""
    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def _noise(name: str, references: Sequence[Outputs], noise: Sequence[Outputs]) -> float:
    responses = [difference(a[name], b.get(name)) for a, b in zip(references, noise, strict=False)]
    return max((d.max_rel for d in responses if not d.mismatch), default=0.0)


def _varies(values: Sequence[Any]) -> bool:
    """False for an output that is the same constant, or has no finite value, on every input."""
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    if len(arrays) != len(values) or not arrays:
        return True
    if is_floating(arrays[0].dtype) and not any(
        np.isfinite(array.astype(np.float64)).any() for array in arrays
    ):
        return False
    if len(arrays) == 1:
        return True  # one input set says nothing about variation
    filled = [array for array in arrays if array.size]
    if not filled:
        return False
    first = filled[0].reshape(-1)[0]
    if all((array == first).all() for array in filled):
        return False
    same = (_same(arrays[0], other) for other in arrays[1:])
    return not all(same)


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and not difference(a, b).mismatch and difference(a, b).max_abs == 0

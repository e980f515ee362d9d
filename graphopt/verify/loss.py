"""Loss of a lossy result against the original, over the outputs that carry numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.contract import Array
from graphopt.model.tensor import is_floating
from graphopt.report import Loss
from graphopt.verify.numeric import Outputs, difference


class LossUndefined(ValueError):
    """An output that cannot be compared: another shape or dtype, or finite in one of them only."""

    def __init__(self, output: str, reason: str) -> None:
        super().__init__(f"output {output!r}: {reason}")
        self.output = output
        self.reason = reason


def measure_loss(level: str, references: Sequence[Outputs], results: Sequence[Outputs]) -> Loss:
    """Measure how far results are from references, one mapping of outputs per input set.

    Outputs that are no floating-point numbers (labels, indices) count towards top-1 agreement.

    Raises:
        LossUndefined: An output changed its shape or dtype, or is finite in one of them only.
    """
    signal = noise = max_rel = 0.0
    rows = agreeing = 0
    for reference, result in zip(references, results, strict=True):
        for name, a in reference.items():
            found = difference(a, result.get(name))
            if found.mismatch and not found.discrete:
                raise LossUndefined(name, found.mismatch)
            max_rel = max(max_rel, found.max_rel)
            for x, y in _arrays(a, result[name]):
                if not is_floating(x.dtype):
                    rows += x.size
                    agreeing += int((x == y).sum())
                    continue
                wide, other = x.astype(np.float64), y.astype(np.float64)
                finite = np.isfinite(wide)
                signal += float((wide[finite] ** 2).sum())
                noise += float(((wide[finite] - other[finite]) ** 2).sum())
                rows, agreeing = _add_top1(wide, other, rows, agreeing)
    snr = math.inf if noise == 0 else 10 * math.log10(signal / noise) if signal else -math.inf
    return Loss(level, snr, max_rel, agreeing / rows if rows else None)


def _arrays(a: Any, b: Any) -> list[tuple[Array, Array]]:
    """The pairs of arrays in two values of one kind: one, or those of a sequence."""
    if isinstance(a, list):
        return [pair for x, y in zip(a, b, strict=True) for pair in _arrays(x, y)]
    return [] if a is None else [(np.asarray(a), np.asarray(b))]


def _add_top1(x: Array, y: Array, rows: int, agreeing: int) -> tuple[int, int]:
    if x.ndim < 2 or x.shape[-1] < 2 or x.size == 0:
        return rows, agreeing
    same = x.argmax(-1) == y.argmax(-1)
    return rows + same.size, agreeing + int(same.sum())

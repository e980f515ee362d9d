"""Make one Cast of two in a row.

Before: x (float16) -> Cast(float) -> Cast(double) -> y        After: x -> Cast(double) -> y

Conditions: the first Cast keeps every value (bool to numbers, an integer to a wider one, an integer
to floating point with bits enough, floating point to a wider one), or both cut integers shorter.
Where y has x's type, no Cast stays; else nothing else reads what lies between. What a conversion
out of range gives is not defined, so floating point into integers is only taken back, never merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from graphopt.contract import Context, Editor, Effect, GraphView, NodeView, Skip, ValueView

_DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
"""Bits of the numbers' significands, the leading one included."""
_INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


@dataclass(frozen=True, slots=True)
class Found:
    """Two Casts in a row, and what the first one reads."""

    first: NodeView
    second: NodeView
    source: ValueView
    effect: Effect


@dataclass(frozen=True)
class FuseCasts:
    """Replace a Cast of a Cast by one, or by none where the second takes the first back.

    Fires on synthetic graphs only among the catalogue's models. Source: ONNX operators Cast and
    CastLike, opsets 6 to 25; IEEE 754.
    """

    name: ClassVar[str] = "fuse_casts"
    effect: ClassVar[Effect] = Effect.ROUNDING
    roots: ClassVar[tuple[str, ...]] = ("Cast", "CastLike")

    def match(self, node: NodeView, graph: GraphView, context: Context) -> Found | Skip | None:
        """Look at the second of two."""
        between, target = node.inputs[0], node.outputs[0]
        first = None if between is None else between.producer
        if between is None or target is None or first is None or first.op_type not in self.roots:
            return None
        source = first.inputs[0]
        if first.is_opaque or first.graph is not node.graph or source is None:
            return Skip("the first cast is not a plain one beside the second")
        kinds = source.dtype, between.dtype, target.dtype
        if any(kind is None for kind in kinds):
            return Skip("a type is not known")
        given, middle, wanted = (_name(kind) for kind in kinds)
        effect = _effect(given, middle, wanted)
        if effect is None:
            return Skip("the first cast changes values")
        if given == wanted:
            return target.replaceable_by(source) or Found(first, node, source, effect)
        if between.is_graph_output or len(between.readers) != 1:
            return Skip("what lies between is read elsewhere")
        return Found(first, node, source, effect)

    def rewrite(self, match: Found, edit: Editor) -> None:
        """Let the second read the source, or bypass it."""
        target, between = match.second.outputs[0], match.first.outputs[0]
        assert target is not None
        assert between is not None
        if target.dtype == match.source.dtype:
            edit.replace(target, match.source)
            edit.remove(match.second)
        else:
            edit.set_input(match.second, 0, match.source)
        if not between.readers and not between.is_graph_output:
            edit.remove(match.first)


def _name(kind: np.dtype[Any] | None) -> str:
    return "bfloat16" if kind == ml_dtypes.bfloat16 else str(kind)


def _effect(given: str, middle: str, wanted: str) -> Effect | None:
    """How exactly a cast to `wanted` does the work of one to `middle` and one to `wanted`."""
    if {given, middle, wanted} <= _INTEGERS and _bits(wanted) <= _bits(middle):
        return Effect.IDENTICAL  # both cut off leading bits
    if not _keeps(given, middle):
        return None
    if _keeps(given, wanted) or (given in _INTEGERS and middle in _INTEGERS | {"bool"}):
        return Effect.IDENTICAL if wanted in _DIGITS or given not in _DIGITS else None
    if wanted == "bool":
        return Effect.IDENTICAL
    # The same value is rounded; a kernel may do so in two steps.
    return Effect.ROUNDING if wanted in _DIGITS else None


def _keeps(given: str, wanted: str) -> bool:
    """Tell whether every value of one type is a value of the other."""
    if given == wanted:
        return True
    if given == "bool":
        return wanted in _INTEGERS or wanted in _DIGITS
    if given in _INTEGERS:
        digits = _bits(given) - (not given.startswith("u"))
        if wanted in _DIGITS:
            return digits <= _DIGITS[wanted]
        if wanted not in _INTEGERS or (wanted.startswith("u") and not given.startswith("u")):
            return False
        return digits <= _bits(wanted) - (not wanted.startswith("u"))
    if given in ("float16", "bfloat16"):
        return wanted in ("float32", "float64")
    return (given, wanted) == ("float32", "float64")


def _bits(name: str) -> int:
    return int(name.rpartition("int")[2])

"""What a rewrite may do to the answers, and how a pass refuses one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Effect(StrEnum):
    """What a rewrite may do to a model's answers."""

    IDENTICAL = "identical"
    """Equal bits."""
    ROUNDING = "rounding"
    """The same mathematics, in another order or with a constant in another precision."""
    LOSSY = "lossy"
    """Values change on purpose; the loss is measured and reported."""

    def within(self, bound: Effect) -> bool:
        """Tell whether this effect changes no more than `bound` allows."""
        order = list(Effect)
        return order.index(self) <= order.index(bound)


RANDOM_OPERATORS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike"}
)  # fmt: skip
"""Operators that answer differently each time: never folded, never merged, never compared."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A refusal, as data: reports count the reasons.

    Attributes:
        reason: In a few words: "conv output has 2 readers".
        opset: The opset from which on this would not be refused, where that is all that is missing.
    """

    reason: str
    opset: int | None = None

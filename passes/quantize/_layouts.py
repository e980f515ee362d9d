"""Where the scales of a weight stand, and how scales are shared out among many weights.

One scale serves a group of elements. Smaller groups cost bytes and save noise, and how much is told
by the groups' largest values alone: rounding to steps of s makes noise of s² / 12 an element.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.contract import Array
from graphopt.passes.quantize._blocks import blocks

STEPS = 127
"""Codes go from -127 to 127: symmetric, so that no zero point is stored."""
_FEWEST = 8
"""Elements that share a scale at the least: with fewer, scales outgrow what they save."""
_SPLIT_BYTES = 256
"""What runs within an axis cost beside their scales: a Reshape and the shape that it reads."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One scale for each index of one axis and each run of indices of another.

    Attributes:
        shape: The weight's.
        axis: The axis whose every index has scales of its own.
        along: The axis that is cut into runs; all other axes share their scales.
        run: Indices in a run; divides the size of `along`, which is one run where they are equal.
    """

    shape: tuple[int, ...]
    axis: int
    along: int
    run: int

    @property
    def is_split(self) -> bool:
        """True where scales broadcast only once the weight has one axis more."""
        return 1 < self.run < self.shape[self.along]

    @property
    def split_shape(self) -> tuple[int, ...]:
        """The weight's shape, with `along` as two axes where it is split."""
        if not self.is_split:
            return self.shape
        runs = (self.shape[self.along] // self.run, self.run)
        return (*self.shape[: self.along], *runs, *self.shape[self.along + 1 :])

    @property
    def scale_shape(self) -> tuple[int, ...]:
        """The scales' shape, of the rank of `split_shape`."""
        sizes = [1] * len(self.shape)
        sizes[self.axis] = self.shape[self.axis]
        sizes[self.along] = self.shape[self.along] // self.run
        if self.is_split:
            sizes.insert(self.along + 1, 1)
        return tuple(sizes)

    def split_axes(self, axes: Sequence[int]) -> tuple[int, ...]:
        """Axes of the weight as axes of `split_shape`."""
        if not self.is_split:
            return tuple(axes)
        moved = [axis + (axis > self.along) for axis in axes]
        return tuple(sorted([*moved, self.along + 1] if self.along in axes else moved))

    def peaks(self, weight: Array) -> Array:
        """The largest magnitude in each group, of `scale_shape`, in float64."""
        view, sizes = weight.reshape(self.split_shape), self.scale_shape
        shared = tuple(axis for axis, size in enumerate(sizes) if size < view.shape[axis])
        found = np.maximum(view.max(shared, keepdims=True), -view.min(shared, keepdims=True))
        return np.asarray(found, np.float64)


@dataclass(frozen=True, slots=True)
class Option:
    """A layout and its price.

    Attributes:
        nbytes: Bytes of its scales.
        noise: Energy of the rounding noise, as a share of the weight's own.
    """

    layout: Layout
    nbytes: int
    noise: float


def options(weight: Array, axes: Iterable[int]) -> list[Option]:
    """The layouts worth their bytes, from the fewest bytes to the least noise.

    Args:
        weight: Finite values of a floating-point dtype, with two axes longer than 1 or more.
        axes: Those of them whose every index may have scales of its own.

    Returns:
        At least one; each has more bytes and less noise than the one before, at a falling gain.
    """
    largest = float(max(weight.max(), -weight.min())) or 1.0
    energy = 0.0
    for index in blocks(weight.shape):
        energy += float(np.square(weight[index] / largest, dtype=np.float64).sum())
    long = [axis for axis, size in enumerate(weight.shape) if size > 1]
    found = [
        Option(layout, nbytes, noise / (energy or 1.0))
        for axis in axes
        for along in long
        if along != axis
        for layout, nbytes, noise in _runs(weight, axis, along, largest)
    ]
    return _worthwhile(found)


def _runs(
    weight: Array, axis: int, along: int, largest: float
) -> Iterator[tuple[Layout, int, float]]:
    """Runs of every length that divides the axis and is long enough: bytes and noise of each."""
    sizes = weight.shape
    shared = weight.size // (sizes[axis] * sizes[along])
    known: dict[int, Array] = {}
    for run in (n for n in range(1, sizes[along] + 1) if sizes[along] % n == 0):
        if run * shared < _FEWEST and run < sizes[along]:
            continue
        layout = Layout(sizes, axis, along, run)
        shorter = max((n for n in known if run % n == 0), default=0)
        if shorter:
            peaks = known[shorter].reshape(sizes[axis], -1, run // shorter).max(2)
        else:
            found = layout.peaks(weight) / largest
            flipped = axis > along
            peaks = found.reshape(-1, sizes[axis]).T if flipped else found.reshape(sizes[axis], -1)
        known[run] = peaks
        # The largest of each group is met exactly.
        noise = float(np.square(peaks).sum()) * (run * shared - 1) / (12 * STEPS**2)
        yield layout, peaks.size * weight.dtype.itemsize + layout.is_split * _SPLIT_BYTES, noise


def _worthwhile(found: Iterable[Option]) -> list[Option]:
    """The lower convex hull over bytes and noise, from the left to its lowest point."""
    hull: list[Option] = []
    for option in sorted(found, key=lambda option: (option.nbytes, option.noise)):
        if hull and option.noise >= hull[-1].noise:
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _gain(fewer: Option, more: Option) -> float:
    """Noise saved by each byte spent on going from one option to the next; inf where it is free."""
    cost = more.nbytes - fewer.nbytes
    return (fewer.noise - more.noise) / cost if cost else math.inf


def share_out(ladders: Sequence[Sequence[Option]], budget: int) -> list[Option]:
    """Choose one option for each weight, so that their noises add up to the least.

    Noises count as shares of each weight's own energy: nobody has said which weight matters more.

    Args:
        ladders: The options of each weight, as `options` gives them.
        budget: Bytes for all scales together. It is exceeded only where even the first options are.
    """
    taken = [0] * len(ladders)
    left = budget - sum(ladder[0].nbytes for ladder in ladders)
    steps = sorted(
        (-_gain(*ladder[step - 1 : step + 1]), which, step)
        for which, ladder in enumerate(ladders)
        for step in range(1, len(ladder))
    )
    stopped = set()
    for _, which, step in steps:
        cost = ladders[which][step].nbytes - ladders[which][step - 1].nbytes
        if which in stopped or cost > left:
            stopped.add(which)
            continue
        left -= cost
        taken[which] = step
    return [ladder[step] for ladder, step in zip(ladders, taken, strict=True)]

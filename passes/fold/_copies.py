"""Whether an entry of a Reshape's target that turns out 0, and so copies, changes the result.

Where a size is 0, Reshape takes the entry that holds it for "copy the input's dimension". Mostly
that dimension is 0 as well, or the number of elements no longer fits and the model does not run.
One size at a time is looked at: what happens where two are 0 at once is left aside.
Source: ONNX operator Reshape, attribute allowzero.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphopt.passes.fold._sizes import Size, Symbol, product


def copies_are_harmless(
    target: Sequence[Size], source: Sequence[Size], nonzero: Collection[Symbol] = ()
) -> bool:
    """Tell whether each entry that may be 0 is the dimension's length wherever the model runs.

    Args:
        target: The entries of a Reshape's target.
        source: The dimensions of what it reshapes.
        nonzero: Sizes with which the model does not run where they are 0.
    """
    for index, entry in enumerate(target):
        if entry.integer is not None or index >= len(source):
            continue
        zeros = zeros_of(entry)
        if zeros is None:
            return False
        left = [zero for zero in zeros if zero not in nonzero]
        if not all(_agrees(zero, target, source, index) for zero in left):
            return False
    return True


def zeros_of(entry: Size) -> list[Symbol] | None:
    """The symbols any of which makes it 0; None where that is not known."""
    monomials = [monomial for monomial, _ in entry.terms]
    if () in monomials:
        return []  # a number above 0 is added: such entries are not negative
    if len(monomials) > 1 and not all(s.is_given for m in monomials for s in m):
        return None
    return [s for s in dict.fromkeys(monomials[0]) if all(s in m for m in monomials)]


def _agrees(zero: Symbol, target: Sequence[Size], source: Sequence[Size], index: int) -> bool:
    if _vanishes(source[index], zero):
        return True
    # It copies a length that is not 0. That is refused where the numbers of elements differ.
    others = product(dim for axis, dim in enumerate(source) if axis != index)
    rest = [entry for axis, entry in enumerate(target) if axis != index]
    numbers = product(rest).integer
    fixed = others.integer
    if numbers and fixed is not None and all((e.integer or 0) > 0 for e in rest):
        return fixed != numbers
    if not zero.is_given or not any(_vanishes(dim, zero) for dim in source):
        return False
    made = [
        source[axis] if _vanishes(entry, zero) and axis < len(source) else entry
        for axis, entry in enumerate(target)
    ]
    return all(_is_positive(dim, zero) for dim in made)


def _vanishes(dim: Size, zero: Symbol) -> bool:
    """True where it is 0 when that symbol is."""
    return all(
        any(zero == factor or any(_vanishes(m, zero) for m in factor.most) for factor in monomial)
        for monomial, _ in dim.terms
    )


def _is_positive(dim: Size, zero: Symbol) -> bool:
    """True where it is above 0, with that one symbol 0 and every other given size above 0."""
    if not dim.is_nonnegative:
        return False
    return any(zero not in m and all(s.is_given for s in m) for m, _ in dim.terms)

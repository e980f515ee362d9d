"""What a user may have meant by a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

_FEW = 8


def closest(name: str, known: Iterable[str]) -> str:
    """A hint that names what comes closest, or what there is when that is little.

    Args:
        name: The name that is not there.
        known: The names that are.
    """
    names: Collection[str] = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    if not names:
        return "there is none"
    listed = ", ".join(list(names)[:_FEW])
    return f"known: {listed}" + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")

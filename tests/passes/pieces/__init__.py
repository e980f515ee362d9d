"""Pieces of graph in which the passes find something to do."""

from __future__ import annotations

from tests.passes.piece import Piece
from tests.passes.pieces.bodies import BRANCHES, CALLS, DECIDED, TURNS
from tests.passes.pieces.first import FIRST
from tests.passes.pieces.formulas import ACTIVATIONS, DEFAULTS, HARD, LIMITS, NORMS, TABLE
from tests.passes.pieces.linear import LINEAR
from tests.passes.pieces.more import MORE
from tests.passes.pieces.moving import EXPANDED, GRID, HEADS, MOVEMENT, REPEATED, SLICES

PIECES: dict[str, Piece] = {
    "first": FIRST,
    "more": MORE,
    "activations": ACTIVATIONS,
    "hard": HARD,
    "norms": NORMS,
    "limits": LIMITS,
    "table": TABLE,
    "defaults": DEFAULTS,
    "slices": SLICES,
    "movement": MOVEMENT,
    "heads": HEADS,
    "repeated": REPEATED,
    "expanded": EXPANDED,
    "grid": GRID,
    "linear": LINEAR,
    "branches": BRANCHES,
    "decided": DECIDED,
    "turns": TURNS,
    "calls": CALLS,
}

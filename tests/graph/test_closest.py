from __future__ import annotations

from graphopt.graph.closest import closest


def test_what_comes_closest_is_named() -> None:
    assert closest("imgae", ["image", "mask"]) == "did you mean 'image'?"
    assert closest("conv_1", ["conv_1a", "conv_1b2"]) == "did you mean 'conv_1a' or 'conv_1b2'?"


def test_otherwise_what_there_is() -> None:
    assert closest("zzz", ["image", "mask", "image"]) == "known: image, mask"
    assert closest("zzz", [f"tensor{k}" for k in range(20)]).endswith("tensor7 and 12 more")
    assert closest("zzz", []) == "there is none"

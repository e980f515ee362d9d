from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.runtime.sizes import check_results
from tests.build import parse

EXPAND = "g (float[1] x) => (float[A] y) { y = Expand(x, s) }"


def check(text: str, max_bytes: int, **initializers: Any) -> None:
    check_results(parse(text, **initializers).SerializeToString(), max_bytes)


def test_size_is_told_by_inference() -> None:
    check(EXPAND, 400, s=np.array([100]))
    with pytest.raises(ValueError, match="the result would take 400 bytes"):
        check(EXPAND, 399, s=np.array([100]))


def test_outputs_are_added_up() -> None:
    text = "g (float[8] x) => (float[A] y, float[B] z) { y, z = Split<num_outputs = 2>(x) }"
    header = '<ir_version: 10, opset_import: ["": 18]>'
    check(header + text, 32)
    with pytest.raises(ValueError, match="32 bytes"):
        check(header + text, 31)


def test_size_that_nobody_can_tell() -> None:
    with pytest.raises(ValueError, match="not known"):
        check("g (float[1] x, int64[1] s) => (float[A] y) { y = Expand(x, s) }", 1 << 40)


def test_result_bounded_by_its_operand_is_fine() -> None:
    check("g (float[4] x) => (int64[1,A] y) { y = NonZero(x) }", 1)


def test_overflowing_size() -> None:
    with pytest.raises(ValueError, match=r"bytes|not known"):
        check(
            "g (float[1] x) => (float[A,B,C] y) { y = Expand(x, s) }", 1 << 40,
            s=np.array([1 << 31, 1 << 31, 1 << 31]),
        )  # fmt: skip

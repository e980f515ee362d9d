from __future__ import annotations

import pytest

from graphopt.cli.values import parse_shapes
from graphopt.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "shape"),
    [
        ("x:1,3,224,224", "x", (1, 3, 224, 224)),
        ("x=1,3", "x", (1, 3)),
        ("x:1x3x8", "x", (1, 3, 8)),
        ("serving_default_x:0:1,3", "serving_default_x:0", (1, 3)),
        ("serving_default_x:0=1,3", "serving_default_x:0", (1, 3)),
        ("a=b:2", "a=b", (2,)),
        ("x: 1, 3", "x", (1, 3)),
        ("x:0", "x", (0,)),
        ("x:", "x", ()),
        ("size:4", "size", (4,)),
    ],
)
def test_forms(text: str, name: str, shape: tuple[int, ...]) -> None:
    assert parse_shapes([text]) == {name: shape}


def test_several() -> None:
    assert parse_shapes(["x:1", "y:2,3"]) == {"x": (1,), "y": (2, 3)}


@pytest.mark.parametrize("text", ["", "x", ":1,2", "=1", "x:a", "x:1.5", "x:-1", "x:N,3", "x:1,²"])
def test_nonsense(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not NAME:d,d,\.\.\.") as caught:
        parse_shapes([text])
    assert caught.value.hint == "for example image:1,3,224,224"

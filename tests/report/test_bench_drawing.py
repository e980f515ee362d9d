from __future__ import annotations

import sys
from xml.etree import ElementTree as ET

import pytest

from graphopt.errors import ExitCode, UsageError
from graphopt.report.bench_drawing import COLORS, SHAPES, by_model, check_drawing, draw, fitted, key
from tests.report.pages import marks, shown

ODD = "</script><b>\"' & {{x}} datum.a"


def points(names: list[str]) -> dict[str, object]:
    values = [{"name": name, "x": i, "tip": f"tip of {name}"} for i, name in enumerate(names)]
    encoding = {
        "x": {"field": "x", "type": "quantitative"}, "y": {"field": "name", "type": "nominal"},
        "description": {"field": "tip"},
    }  # fmt: skip
    return {"data": {"values": values}, "mark": "point", "encoding": encoding}


def test_the_drawing_is_plain() -> None:
    svg = draw(fitted(points(["a", "b"])))
    assert svg.tag == "svg"
    assert set(svg.attrib) == {"viewBox"}
    for element in svg.iter():
        assert ":" not in element.tag
        assert "}" not in element.tag
        assert not {"href", "style", "role"} & set(element.attrib)
        assert not any(name.startswith(("on", "aria-")) for name in element.attrib)
    assert "http" not in ET.tostring(svg, encoding="unicode")


def test_marks_have_their_description_as_title() -> None:
    assert set(marks(draw(fitted(points(["a", "b"]))))) == {"tip of a", "tip of b"}


def test_names_are_text_and_nothing_else() -> None:
    svg = draw(fitted(points([ODD, "b"])))
    assert any(text.startswith("</script><b>") for text in shown(svg))
    assert f"tip of {ODD}" in marks(svg)
    assert not list(svg.iter("script"))
    assert not list(svg.iter("b"))


def test_the_page_sets_the_colours() -> None:
    text = ET.tostring(draw(fitted(points(["a"]))), encoding="unicode")
    assert 'fill="var(--soft)"' in text
    assert 'fill="white"' not in text


def test_nothing_is_fetched() -> None:
    with pytest.raises(ValueError, match="not allowed"):
        draw({**points(["a"]), "data": {"url": "https://example.invalid/a.json"}})


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    check_drawing()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "vl_convert", raising=False)
    with pytest.raises(UsageError) as caught:
        check_drawing()
    assert caught.value.hint == "pip install 'graphopt[html]'"
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(UsageError):
        draw(points(["a"]))


def test_models_take_turns_with_colours() -> None:
    encoding = by_model(["a", "b"], "color", "shape")
    assert set(encoding) == {"color", "shape"}
    assert encoding["color"]["scale"] == {"domain": ["a", "b"], "range": COLORS}


def test_keys() -> None:
    first, last = key(0, line=True), key(len(COLORS))
    assert [path.get("fill") for path in first] == ["none", COLORS[0]]
    assert [path.get("d") for path in last] == [SHAPES[0]]
    assert key(3, bar=True)[0].get("d") == SHAPES[1]
    assert key(3, color="red")[0].get("fill") == "red"

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from graphopt.report.html_elements import element, table
from tests.report.pages import Page


def html(found: ET.Element) -> str:
    return ET.tostring(found, encoding="unicode", method="html")


def test_children_keep_their_order() -> None:
    found = element("p", "a", element("b", "c"), None, "d", "e", element("i"), "f")
    assert html(found) == "<p>a<b>c</b>de<i></i>f</p>"


def test_names_of_attributes() -> None:
    found = element("p", class_="x", aria_label="y", http_equiv="z")
    assert html(found) == '<p class="x" aria-label="y" http-equiv="z"></p>'


@pytest.mark.parametrize(
    "text", ["</p><script>1</script>", '"><img src=x>', "&lt;b>", "a & b", "'"]
)
def test_text_is_escaped(text: str) -> None:
    page = Page(html(element("p", text, title=text)))
    assert page.tags == [("p", {"title": text})]
    assert "".join(page.words) == text


def test_table() -> None:
    page = Page(html(table("Sizes", ["name", "bytes"], [["a", "1"], ["b", element("i", "2")]])))
    assert len(page.all("table", **{"aria-label": "Sizes"})) == 1
    assert [tag for tag, _ in page.tags].count("tr") == 3
    assert page.all("th") == [{"scope": "col"}, {"scope": "col", "class": "number"}]
    assert page.all("td", class_="number") == [{"class": "number"}] * 2
    assert page.words == ["name", "bytes", "a", "1", "b", "2"]


def test_table_with_headings_of_rows() -> None:
    page = Page(html(table("Sizes", ["name", "bytes"], [["first"], ["a", "1"]])))
    assert page.all("th", scope="rowgroup") == [{"scope": "rowgroup", "colspan": "2"}]


def test_rows_have_as_many_cells_as_headings() -> None:
    with pytest.raises(ValueError, match="zip"):
        table("Sizes", ["a", "b", "c"], [["1", "2"]])

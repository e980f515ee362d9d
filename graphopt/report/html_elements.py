"""Elements of an HTML page, built as a tree: text is escaped when the tree is written."""

from __future__ import annotations

from collections.abc import Container, Sequence
from xml.etree import ElementTree as ET

Child = ET.Element | str | None
"""What an element may hold; None is left out."""

Row = Sequence[Child]
"""The cells of a row of a table."""


def element(tag: str, *children: Child, **attributes: str) -> ET.Element:
    """An element.

    Args:
        tag: Its name.
        children: Elements and text, in order.
        attributes: By name, `_` for `-`; `class_` is the class.
    """
    found = ET.Element(tag, {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()})
    last: ET.Element | None = None
    for child in children:
        if isinstance(child, str):
            if last is None:
                found.text = (found.text or "") + child
            else:
                last.tail = (last.tail or "") + child
        elif child is not None:
            found.append(child)
            last = child
    return found


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Row], text_columns: Container[int] = (0,)
) -> ET.Element:
    """A table that scrolls sideways where it is wider than the page.

    Args:
        caption: Its name, for those who have it read to them.
        heads: Headings of the columns.
        rows: The cells, as many as headings; a row of one cell is a heading of those after it.
            An element may be in one cell only.
        text_columns: The columns that hold text; the others hold numbers and are aligned right.
    """
    kinds = [{} if i in text_columns else {"class_": "number"} for i in range(len(heads))]
    head = element("tr", *(
        element("th", text, scope="col", **kind) for text, kind in zip(heads, kinds, strict=True)
    ))  # fmt: skip
    body = [
        element("tr", *(element("td", c, **kind) for c, kind in zip(row, kinds, strict=True)))
        if len(row) > 1
        else element("tr", element("th", *row, colspan=str(len(heads)), scope="rowgroup"))
        for row in rows
    ]
    shown = element("table", element("thead", head), element("tbody", *body), aria_label=caption)
    return element("div", shown, class_="table", tabindex="0", role="region", aria_label=caption)

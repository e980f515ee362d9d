"""Reading HTML pages and drawings in tests."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree as ET


@dataclass
class Page(HTMLParser):
    """A page as a browser's parser sees it: its tags with their attributes, and its text."""

    text: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of every such tag."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the plots, in order."""
        return [attributes["class"] for attributes in self.all("figure")]

    def says(self, words: str) -> bool:
        """Whether the page has this text, in one piece."""
        return any(words in piece for piece in self.words)


def marks(svg: ET.Element, tag: str = "") -> dict[str, ET.Element]:
    """The marks of a drawing by their description; the uppermost, or that of a tag."""
    found = {}
    for element in svg.iter():
        title = element.find("title")
        if title is not None and title.text and tag in ("", element.tag):
            found[title.text] = element
    return found


def place(element: ET.Element) -> tuple[float, float]:
    """Where a mark is drawn."""
    found = re.fullmatch(r"translate\((.+),(.+)\)", element.attrib["transform"])
    assert found
    return float(found[1]), float(found[2])


def shown(svg: ET.Element) -> list[str]:
    """The text in a drawing that is seen."""
    return [element.text or "" for element in svg.iter("text")]

"""Drawing for a benchmark's HTML page: Vega-Lite descriptions to SVG, without a browser.

The SVG holds no script and no address. Its colours are CSS variables that the page sets, for light
and for dark; a model has a shape and a dash of its own beside its colour.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from graphopt.errors import UsageError

WIDTH = 420
"""Of a drawing, in its own pixels: a phone shows it nearly at this size, a desktop a bit larger."""

SERIES = 8
"""How many colours the page has; more models than that take them again."""

_LABEL_LIMIT = 130
COLORS = [f"var(--series-{i + 1})" for i in range(SERIES)]
"""Of models, in their order."""

_DASHES = [[1, 0], [7, 3], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4], [2, 6], [6, 2, 2, 2, 2, 2]]
SHAPES = [
    "M.8,0A.8,.8,0,1,1,-.8,0A.8,.8,0,1,1,.8,0Z", "M-.75,-.75H.75V.75H-.75Z",
    "M0,-.95L.95,.75H-.95Z", "M0,-1L1,0L0,1L-1,0Z",
    "M-.3,-.95H.3V-.3H.95V.3H.3V.95H-.3V.3H-.95V-.3H-.3Z", "M0,.95L.95,-.75H-.95Z",
    "M-.95,0L.75,-.95V.95Z", "M-1,-.45H1V.45H-1Z",
]  # fmt: skip
"""Paths of points, in the order of models (or clocks)."""

_TEXT = {"labelColor": "var(--soft)", "titleColor": "var(--ink)", "titleFontWeight": "normal"}
_CONFIG: dict[str, Any] = {
    "background": None,
    "padding": {"left": 8, "right": 8, "top": 4, "bottom": 4},
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        **_TEXT, "labelFontSize": 12, "titleFontSize": 12, "titlePadding": 8,
        "labelLimit": _LABEL_LIMIT, "gridColor": "var(--line)", "domainColor": "var(--line)",
        "tickColor": "var(--line)",
    },
    "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
    "header": {
        "title": None, "labelColor": "var(--ink)", "labelFontSize": 12, "labelAnchor": "start",
        "labelFontWeight": "bold", "labelLimit": 280, "labelPadding": 4,
    },
}  # fmt: skip

Spec = dict[str, Any]
"""A Vega-Lite description."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, ready to be put into a page.

    Attributes:
        kind: `ratios`, `latency`, `sizes` or `operators`.
        title: What it shows.
        description: The same in words and figures, for those who do not see it.
        svg: The drawing, an element without namespaces.
        keys: What the marks stand for, each with its own drawing.
    """

    kind: str
    title: str
    description: str
    svg: ET.Element
    keys: list[tuple[str, ET.Element]]


def by_model(models: list[str], *channels: str) -> Spec:
    """The encoding that tells models apart.

    Args:
        models: All models of the case, in order.
        channels: `color`, `strokeDash`, `shape`.
    """
    ranges: dict[str, list[Any]] = {"color": COLORS, "strokeDash": _DASHES, "shape": SHAPES}
    return {
        channel: {
            "field": "model", "type": "nominal", "sort": models, "legend": None,
            "scale": {"domain": models, "range": ranges[channel]},
        }
        for channel in channels
    }  # fmt: skip


def key(index: int, *, color: str = "", line: bool = False, bar: bool = False) -> ET.Element:
    """What a legend shows for the model of that index: its point, with its line or as its bar.

    Args:
        index: Among all models of the case.
        color: Another colour than the model's.
        line: With its line.
        bar: A square in its colour, whatever its shape.
    """
    color = color or COLORS[index % len(COLORS)]
    root = ET.Element("svg", {"viewBox": "-14 -7 28 14", "class": "key", "aria-hidden": "true"})
    if line:
        dashes = ",".join(map(str, _DASHES[index % len(_DASHES)]))
        attributes = {"stroke": color, "stroke-width": "2", "stroke-dasharray": dashes}
        ET.SubElement(root, "path", {"d": "M-14,0H14", "fill": "none", **attributes})
    shape = SHAPES[1 if bar else index % len(SHAPES)]
    ET.SubElement(root, "path", {"d": shape, "fill": color, "transform": "scale(6)"})
    return root


def fitted(spec: Spec) -> Spec:
    """The description with the page's width for the whole drawing, axes and all."""
    return {**spec, "width": WIDTH, "autosize": {"type": "fit-x", "contains": "padding"}}


def check_drawing() -> None:
    """Check that plots can be drawn, before anything long is begun for them.

    Raises:
        UsageError: The library that draws is not installed.
    """
    if importlib.util.find_spec("vl_convert") is None:
        raise UsageError(
            "an HTML report needs vl-convert-python", hint="pip install 'graphopt[html]'"
        )


def draw(spec: Spec) -> ET.Element:
    """Draw a Vega-Lite description.

    Args:
        spec: The description; it holds its data.

    Returns:
        An `svg` element without namespaces, scripts or addresses; marks have their description as
        `title`, which a browser shows under the pointer.

    Raises:
        UsageError: The library that draws is not installed.
    """
    check_drawing()
    import vl_convert

    text = vl_convert.vegalite_to_svg({**spec, "config": _CONFIG}, allowed_base_urls=[])
    root = ET.fromstring(text)
    for parent in list(root.iter()):
        _plain(parent)
        for child in list(parent):
            if child.get("d") == "" or child.get("display") == "none":
                parent.remove(child)
    for name in ("width", "height", "class", "version"):
        root.attrib.pop(name, None)
    return root


def _plain(element: ET.Element) -> None:
    """Take namespaces and roles out: the page gives the whole drawing one label."""
    element.tag = element.tag.rpartition("}")[2]
    label = element.attrib.pop("aria-label", None)
    marked = element.attrib.pop("aria-roledescription", "")
    if label and element.get("role") == "graphics-symbol" and marked not in ("axis", "legend"):
        title = ET.Element("title")
        title.text = label
        element.insert(0, title)
    for name in ("role", "aria-hidden", "pointer-events"):
        element.attrib.pop(name, None)
    for name in [name for name in element.attrib if "}" in name]:
        del element.attrib[name]

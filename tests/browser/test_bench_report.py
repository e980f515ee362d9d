"""A benchmark's page as a browser shows it: quiet, offline, and with its plots."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from graphopt.report.bench import BenchReport, Interval
from graphopt.report.bench_html import to_html
from tests.report.bench_reports import (
    sample_arm,
    sample_candidate,
    sample_case,
    sample_report,
    sample_timing,
)

pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]
WIDE, PHONE = 1280, 390
LOOKS: list[tuple[Scheme, int]] = [
    ("light", WIDE), ("light", PHONE), ("dark", WIDE), ("dark", PHONE),
]  # fmt: skip
KINDS = ["ratios", "latency", "sizes", "operators"]
ODD = "</script><script>document.title='run'</script><img src=https://x.invalid/a onerror=alert(1)>"


@contextmanager
def opened(
    browser: Browser, report: BenchReport, folder: Path, scheme: Scheme = "light", width: int = WIDE
) -> Iterator[Page]:
    """The report's page, opened from a file; at the end, no message and no request are left."""
    file = folder / "report.html"
    file.write_text(to_html(report), encoding="utf-8")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: messages.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    yield page
    assert messages == []
    assert requests == [file.as_uri()]
    context.close()


def plots(page: Page, kind: str) -> Locator:
    return page.locator(f"figure.{kind} svg[role=img]")


def picture(found: Locator) -> Image.Image:
    return Image.open(io.BytesIO(found.screenshot())).convert("RGB")


def painted(image: Image.Image) -> float:
    """The share of the pixels that differ from the most frequent colour, the ground."""
    counts = sorted(count for count, _ in image.getcolors(image.width * image.height) or [])
    return 1 - counts[-1] / (image.width * image.height)


def coloured(image: Image.Image) -> int:
    """How many pixels are of a strong colour: neither ground, nor grid, nor text."""
    _, saturation, _ = image.convert("HSV").split()
    return sum(count for value, count in enumerate(saturation.histogram()) if value > 150)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_every_plot_is_drawn(browser: Browser, tmp_path: Path, scheme: Scheme, width: int) -> None:
    with opened(browser, sample_report(), tmp_path, scheme, width) as page:
        for kind in KINDS:
            found = plots(page, kind)
            assert found.count() == (2 if kind in ("latency", "sizes") else 1)
            for i in range(found.count()):
                image = picture(found.nth(i))
                assert image.width > 300
                assert image.height > 100
                assert painted(image) > 0.02, kind
                assert coloured(image) > 100, kind


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_nothing_lies_beyond_the_page(
    browser: Browser, tmp_path: Path, scheme: Scheme, width: int
) -> None:
    with opened(browser, sample_report(), tmp_path, scheme, width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for box in (found.bounding_box() for found in page.locator("figure").all()):
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def lightness(page: Page) -> float:
    image = Image.open(io.BytesIO(page.screenshot())).convert("L")
    total = sum(value * count for value, count in enumerate(image.histogram()))
    return total / (image.width * image.height)


def test_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, sample_report(), tmp_path, "light") as page:
        assert lightness(page) > 200
    with opened(browser, sample_report(), tmp_path, "dark") as page:
        assert lightness(page) < 60


def test_words_stand_out_from_their_ground(browser: Browser, tmp_path: Path) -> None:
    """Text of drawings has the page's colours, not the library's black."""
    with opened(browser, sample_report(), tmp_path, "dark") as page:
        for text in plots(page, "latency").first.locator("text").all():
            colour = text.evaluate("element => getComputedStyle(element).fill")
            assert min(map(int, colour.removeprefix("rgb(").removesuffix(")").split(", "))) > 120


def other_report(kind: str) -> BenchReport:
    """The sample with other figures where this plot takes them from."""
    changes: dict[str, dict[str, Any]] = {
        "ratios": {"ratio": Interval(0.6, 0.55, 0.65)},
        "latency": {"wall": sample_timing(5.0)},
        "sizes": {"wall": sample_timing(4.0)},
        "operators": {"profile": sample_arm().profile[1:]},
    }
    arms = [sample_arm(), sample_candidate("same.onnx", 1.0, "same", **changes[kind])]
    return sample_report(cases=[sample_case(arms=arms)], requirements=[])


@pytest.mark.parametrize("kind", KINDS)
def test_other_figures_give_another_picture(browser: Browser, tmp_path: Path, kind: str) -> None:
    arms = [sample_arm(), sample_candidate("same.onnx", 1.0, "same")]
    same = sample_report(cases=[sample_case(arms=arms)], requirements=[])
    pictures = []
    for report in (same, dataclasses.replace(same, seed=8), other_report(kind)):
        with opened(browser, report, tmp_path) as page:
            pictures.append(picture(plots(page, kind)).tobytes())
    first, again, other = pictures
    assert first == again
    assert first != other


def test_names_run_nothing(browser: Browser, tmp_path: Path) -> None:
    arms = [sample_arm(), sample_candidate(ODD, 0.5, "faster")]
    report = sample_report(cases=[sample_case(arms=arms, notes=[ODD])], requirements=[])
    models = [*report.models, dataclasses.replace(report.models[1], name=ODD, path=ODD)]
    with opened(browser, dataclasses.replace(report, models=models), tmp_path) as page:
        assert page.title() == "Benchmark of net.onnx"
        assert page.locator("script, img").count() == 0
        assert page.get_by_text(ODD, exact=True).count() > 2


def test_policy_stops_what_would_run(browser: Browser, tmp_path: Path) -> None:
    """The page's own policy would stop a script that got into it all the same."""
    script = "<script>document.title='run'</script>"
    text = to_html(sample_report()).replace("</body>", f"{script}</body>")
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    page = browser.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto(file.as_uri())
    assert page.title() == "Benchmark of net.onnx"
    assert any("Content Security Policy" in message for message in messages)
    page.close()


def test_links_lead_to_their_case(browser: Browser, tmp_path: Path) -> None:
    with opened(browser, sample_report(), tmp_path) as page:
        links = page.locator("table a")
        assert links.count() == 2
        links.last.click()
        assert page.locator("h2:target").inner_text().startswith("CUDA")

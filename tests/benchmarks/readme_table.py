"""The README's table, printed: catalogue models before and after `exact` and `small`.

`make bench-readme`. Inputs are the catalogue's own. A loss is the worse of what the format loses
and what the deployed session loses, as signal-to-noise ratio in dB against the original.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import graphopt
from graphopt.contract import Effect
from graphopt.engine.recipe import built_in, load_recipe
from graphopt.report import Report
from models.catalog import by_name, feeds
from models.fetch import fetch

MODELS = ("lenet_5", "resnet_20", "mixnet", "magika", "silero_vad", "ppocr_det", "ppocr_rec")
RECIPES: tuple[str, ...] = tuple(name for name in ("exact", "small") if name in built_in())
LOSSY = tuple(name for name in RECIPES if load_recipe(name).admits is Effect.LOSSY)
INPUT_SETS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One model: its report under each recipe."""

    model: str
    reports: dict[str, Report]

    @property
    def cells(self) -> dict[str, str]:
        """The row as text, by column title; a result that is not verified shows no figure."""
        before = self.reports[RECIPES[0]].before
        cells = {"model": self.model, "nodes": f"{before.nodes:,}"}
        for recipe, report in self.reports.items():
            cells[f"`{recipe}`"] = _figure(report, f"{report.after.nodes:,}")
        cells["file"] = _kilobytes(before.file_bytes)
        for recipe, report in self.reports.items():
            cells[f"`{recipe}` file"] = _figure(report, _kilobytes(report.after.file_bytes))
        for recipe in LOSSY:
            losses = self.reports[recipe].stages[-1].verification.losses
            worst = min((loss.snr_db for loss in losses), default=None)
            cells[f"loss of `{recipe}`"] = "none" if worst is None else f"{worst:.1f} dB"
        return cells


def measure(models: Iterable[str] = MODELS) -> list[Row]:
    """Optimise each model with each recipe; nothing is written."""
    rows = []
    for name in models:
        data = [feeds(by_name(name), seed) for seed in range(INPUT_SETS)]
        path = fetch(name)
        reports = {recipe: graphopt.optimize(path, recipe, data=data).report for recipe in RECIPES}
        rows.append(Row(name, reports))
    return rows


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table, numbers to the right."""
    cells = [row.cells for row in rows]
    titles = list(cells[0])
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)], *(list(row.values()) for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(report: Report, text: str) -> str:
    return text if report.status == "verified" else report.status


def _kilobytes(count: int) -> str:
    return f"{count / 1000:,.0f} kB"


def main() -> None:
    """Print the table."""
    print(table(measure()))


if __name__ == "__main__":
    main()

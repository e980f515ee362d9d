"""A distribution of passes that is not graphopt's own, laid out as an installer would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PASS = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.contract import Effect


@dataclass(frozen=True)
class {class_name}:
    """Does nothing."""

    name: ClassVar[str] = "{name}"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    def plan(self, graph, context):
        return ()
'''

KNOBS = '''
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Optional

from graphopt.contract import Effect


@dataclass(frozen=True)
class TuneKnobs:
    """Has an option of every type."""

    name: ClassVar[str] = "tune_knobs"
    effect: ClassVar[Effect] = Effect.IDENTICAL

    count: int = 1
    ratio: float = 0.5
    fast: bool = False
    label: str = ""
    axis: Literal["channel", "tensor"] = "tensor"
    bits: Literal[4, 8] = 8
    limit: int | None = 5
    scale: Optional[float] = None
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count is negative")

    def plan(self, graph, context):
        return ()
'''


def pass_source(name: str) -> str:
    """The source of a pass that does nothing."""
    class_name = "".join(part.capitalize() for part in name.split("_"))
    return PASS.format(name=name, class_name=class_name)


def install(site: Path, distribution: str, package: str, files: Mapping[str, str]) -> None:
    """Put a package and its dist-info, with an entry point for it, into a folder of sys.path."""
    root = site / package
    for name, source in {"__init__.py": "", **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    point = f"[graphopt.passes]\n{distribution} = {package}\n"
    (info / "entry_points.txt").write_text(point, encoding="utf-8")

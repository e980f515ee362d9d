"""CPU seconds of whole commands: `make bench`.

The processor's clock and not the wall's, children included: these machines are noisy. Limits that
the project set itself stand beside the figures; a benchmark prints, it does not fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from models.catalog import load_catalog
from models.fetch import fetch

HELP_LIMIT = 0.5
OPTIMIZE_LIMIT = 5.0

Row = tuple[str, float, tuple[str | Path, ...]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took: its exit code, and CPU seconds with its children's."""

    code: int
    seconds: float


def cost(*arguments: str | Path) -> Cost:
    """Run `graphopt ARGUMENTS` once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "graphopt", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return Cost(code, usage.ru_utime + usage.ru_stime)


def main() -> None:
    """Print the table."""
    print(f"{'command':40} {'exit':>4} {'CPU s':>6} {'limit':>6}")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.onnx"
        rows: list[tuple[str, float, tuple[str | Path, ...]]] = [
            ("--help", HELP_LIMIT, ("--help",))
        ]
        for model in load_catalog():
            path = fetch(model.name)
            rows.append((f"inspect {model.name}", OPTIMIZE_LIMIT, ("inspect", path)))
            command = ("optimize", path, "-o", output)
            rows.append((f"optimize {model.name}", OPTIMIZE_LIMIT, command))
        for name, limit, arguments in rows:
            found = cost(*arguments)
            print(f"{name:40} {found.code:4} {found.seconds:6.2f} {limit:6.1f}")


if __name__ == "__main__":
    main()

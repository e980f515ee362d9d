"""A process is timed, and ended when its time is over."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.simplify.process import run


def test_code_and_words_are_kept(tmp_path: Path) -> None:
    ran = run([sys.executable, "-c", "print('no'); raise SystemExit(3)"], tmp_path / "log", 60)
    assert (ran.code, ran.late, ran.said.strip()) == (3, False, "no")
    assert ran.wall > 0 and ran.cpu > 0


def test_a_crash_is_a_code_below_zero(tmp_path: Path) -> None:
    ran = run([sys.executable, "-c", "import os; os.abort()"], tmp_path / "log", 60)
    assert ran.code < 0 and not ran.late


def test_what_hangs_is_ended(tmp_path: Path) -> None:
    ran = run([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log", 0.5)
    assert ran.late and ran.code < 0

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests.build import RAMP


@pytest.fixture(autouse=True)
def no_test_waits_for_ever() -> Iterator[None]:
    """Opening a pipe that nobody writes to would: an alarm makes it a failure."""

    def expired(number: int, frame: FrameType | None) -> None:
        pytest.fail("it took longer than 30 s")  # no OSError, which the code would catch

    former = signal.signal(signal.SIGALRM, expired)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder, with one good data file in it and a secret outside."""
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "w.bin").write_bytes(RAMP.tobytes())
    (tmp_path / "secret.bin").write_bytes(RAMP.tobytes())
    return inside

"""Runs a command in a process group of its own, and says what it took."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ran:
    """What a process took.

    Attributes:
        code: Its exit code; below zero the signal that ended it.
        late: It was ended because its time was over.
        wall: Seconds from start to end.
        cpu: Processor seconds, those of its children included.
        said: The end of what it wrote.
    """

    code: int
    late: bool
    wall: float
    cpu: float
    said: str


def run(command: Sequence[str], log: Path, limit: float) -> Ran:
    """Run a command to its end, or for `limit` seconds."""
    with log.open("wb") as stream:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, end)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text(encoding="utf-8", errors="replace")[-400:]
    cpu = usage.ru_utime + usage.ru_stime
    return Ran(process.returncode, late.is_set(), wall, cpu, said)

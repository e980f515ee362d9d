"""One timing process, seen from this side: load the models of a case, warm them, time rounds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from graphopt.contract import Array
from graphopt.errors import RuntimeFailure
from graphopt.report.bench import Mode
from graphopt.runtime import IsolatedRuntime
from graphopt.runtime.settings import SessionSettings
from graphopt.verify.baseline import first_line
from graphopt.verify.inputs import Feeds

_PATIENCE = 600.0
"""Seconds that loading, or one model's warm-up, may take."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading a model told.

    Attributes:
        providers: Execution providers that the session has.
        session_seconds: Creating it.
        first_run_seconds: The first run.
        copy_seconds: Bringing one input set to the device and the outputs back; None on the CPU.
    """

    providers: tuple[str, ...]
    session_seconds: float
    first_run_seconds: float
    copy_seconds: float | None


@dataclass(frozen=True, slots=True)
class Rounds:
    """What a number of rounds took.

    Attributes:
        wall: Seconds, [rounds, models, calls of a block].
        cpu: Processor seconds of all threads, likewise.
        busy: Share of the time in which callers were running, [rounds, models].
        lost: Requests never answered.
    """

    wall: Array
    cpu: Array
    busy: Array
    lost: int

    @classmethod
    def joined(cls, parts: Sequence[Rounds]) -> Rounds:
        """All of them, one after the other."""
        return cls(
            np.concatenate([part.wall for part in parts]),
            np.concatenate([part.cpu for part in parts]),
            np.concatenate([part.busy for part in parts]),
            sum(part.lost for part in parts),
        )

    def ordered(self, order: Array) -> Rounds:
        """With the models in this order."""
        wall, cpu, busy = self.wall[:, order], self.cpu[:, order], self.busy[:, order]
        return Rounds(wall, cpu, busy, self.lost)


@dataclass(frozen=True, slots=True)
class Load:
    """How calls are made.

    Attributes:
        mode: One after the other, or a load.
        block: Calls of one model before the next has its turn.
        concurrency: Callers at once.
        rate: Requests a second of an open loop.
    """

    mode: Mode = "alternating"
    block: int = 1
    concurrency: int = 1
    rate: float | None = None


class TimingProcess:
    """A fresh process; use it as a context manager."""

    def __init__(self, feeds: Sequence[Feeds]) -> None:
        self._runtime = IsolatedRuntime(_PATIENCE, worker="graphopt.benching.worker")
        self._feeds = feeds
        self._paths: list[Path] = []
        self._generation: int | None = None

    def __enter__(self) -> TimingProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runtime.close()

    def load(self, path: Path, settings: SessionSettings, *, binding: bool) -> Loaded:
        """Load a model and run it once.

        Raises:
            RuntimeFailure: It does not load or run, crashes the process, or takes too long.
        """
        header = {
            "action": "load",
            "path": os.fspath(path),
            "settings": settings.to_header(),
            "sets": len(self._feeds),
            "binding": binding,
        }
        arrays = {f"{n}/{name}": v for n, one in enumerate(self._feeds) for name, v in one.items()}
        answer, _ = self._ask(header, arrays, "load", path)
        self._paths.append(path)
        self._generation = self._runtime.generation  # another one would know none of the models
        return Loaded(
            tuple(answer["providers"]), answer["session_seconds"], answer["first_run_seconds"],
            answer["copy_seconds"],
        )  # fmt: skip

    def warm(self, runs: int) -> Array:
        """Run every model on every input set; seconds of each call, [calls, models]."""
        header = {"action": "warm", "runs": runs, "sets": len(self._feeds)}
        found: Array = self._ask(header, {}, "run")[1]["seconds"]
        return found

    def answers(self, arm: int) -> dict[str, Any]:
        """A model's outputs on the first input set."""
        return self._ask({"action": "answers", "arm": arm, "set": 0}, {}, "run", arm)[1]

    def rounds(self, count: int, first: int, load: Load, seed: int) -> Rounds:
        """Time rounds.

        Args:
            count: How many.
            first: Rounds that were timed before; input sets take turns.
            load: How calls are made.
            seed: Of the order in a round, and of arrivals.
        """
        header = {
            "action": "rounds",
            "rounds": count,
            "first": first,
            "sets": len(self._feeds),
            "seed": seed,
            "mode": load.mode,
            "block": load.block,
            "concurrency": load.concurrency,
            "rate": load.rate,
        }
        answer, arrays = self._ask(header, {}, "run")
        return Rounds(arrays["wall"], arrays["cpu"], arrays["busy"], answer["lost"])

    def _ask(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, Any],
        kind: str,
        about: Path | int | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            return self._runtime.ask(header, arrays, kind, generation=self._generation)
        except RuntimeFailure as error:
            path = self._paths[about] if isinstance(about, int) else about
            named = str(path or ", ".join(map(str, self._paths)))
            said = first_line(error, path or "")
            raise RuntimeFailure(said, kind=error.kind, file=named) from error

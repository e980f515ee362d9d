"""The ways to run a session that tuning chooses among, the most promising first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphopt.errors import UsageError
from graphopt.report.tune import Objective, TuneSettings
from graphopt.runtime.settings import OPENVINO, Provider, SessionSettings, check_config

MAX_CANDIDATES = 32
"""At most so many, the default among them."""

_LEAN: Mapping[str, Any] = {"arena": False, "memory_pattern": False, "prepacking": False}
_LEVELS = ("extended", "basic", "off")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a session.

    Attributes:
        settings: How the session is made.
        binding: Inputs and outputs are bound once, outside the calls.
        batch: Size of the open batch dimension; None leaves the data's own, or 1.
        concurrency: Callers at once.
    """

    settings: SessionSettings
    binding: bool = False
    batch: int | None = None
    concurrency: int = 1

    @property
    def name(self) -> str:
        """What differs from ONNX Runtime's defaults, in words; `default` when nothing does."""
        settings, words = self.settings, []
        if settings.threads:
            words.append(f"{settings.threads} thread{'s' if settings.threads > 1 else ''}")
        if not settings.spins:
            words.append("no spinning")
        if settings.level != "all":
            words.append(f"level {settings.level}")
        for field, said in (("memory_pattern", "memory pattern"), ("arena", "arena"),
                            ("prepacking", "prepacking")):  # fmt: skip
            if not getattr(settings, field):
                words.append(f"no {said}")
        if self.binding:
            words.append("IO binding")
        if self.batch is not None:
            words.append(f"batch {self.batch}")
        if self.concurrency > 1:
            words.append(f"{self.concurrency} callers")
        return ", ".join(words) or "default"

    @property
    def described(self) -> TuneSettings:
        """The same as the report has it."""
        settings = self.settings
        return TuneSettings(
            threads=settings.threads, spinning=settings.spins, level=settings.level,
            memory_pattern=settings.memory_pattern, arena=settings.arena,
            prepacking=settings.prepacking, config=dict(settings.config), binding=self.binding,
            batch=self.batch, concurrency=self.concurrency,
        )  # fmt: skip


def default_candidate(
    provider: Provider, batch: int | None = None, concurrency: int = 1
) -> Candidate:
    """ONNX Runtime's own settings, spinning included, and a plain `run`."""
    return Candidate(SessionSettings(provider, spinning=True), False, batch, concurrency)


def candidates_for(
    objective: Objective,
    provider: Provider,
    max_threads: int,
    batches: Sequence[int | None] = (None,),
    concurrencies: Sequence[int] = (1,),
) -> list[Candidate]:
    """The default, then each setting by itself and a few together, the most promising first.

    Args:
        objective: What to look for; settings that matter to it come first.
        provider: Where to run.
        max_threads: No candidate asks for more threads inside an operator; 1 or more.
        batches: Sizes of the batch; the default's first.
        concurrencies: Callers at once; the default's first.

    Returns:
        At most MAX_CANDIDATES, each different; none has session entries that give wrong answers.

    Raises:
        UsageError: Several batches or callers for another objective than throughput, or no thread.
    """
    if objective != "throughput" and (len(batches) > 1 or tuple(concurrencies) != (1,)):
        raise UsageError(f"one batch and one caller at once belong to the objective {objective}",
                         hint="--objective throughput chooses among several")  # fmt: skip
    if max_threads < 1:
        raise UsageError(f"--max-threads {max_threads} is not 1 or more")
    default = default_candidate(provider, batches[0], concurrencies[0])
    makers = _lean if objective == "memory" else _quick
    found = [default]
    loads = [(b, c) for c in concurrencies for b in batches]
    for batch, concurrency in loads[1:]:
        loaded = dataclasses.replace(default, batch=batch, concurrency=concurrency)
        found += [loaded, *_loaded(loaded, max_threads)]
    found += makers(default, max_threads)
    unique = list({candidate.name: candidate for candidate in reversed(found)}.values())[::-1]
    for candidate in unique:
        check_config(candidate.settings.config)
    return unique[:MAX_CANDIDATES]


def _with(default: Candidate, *, binding: bool = False, **changes: Any) -> Candidate:
    settings = dataclasses.replace(default.settings, **changes)
    if settings.threads and settings.provider.name == OPENVINO:  # it does not heed the session's
        options = {"num_of_threads": str(settings.threads), **settings.provider.options}
        settings = dataclasses.replace(settings, provider=Provider(OPENVINO, options))
    return dataclasses.replace(default, settings=settings, binding=binding)


def _loaded(loaded: Candidate, most: int) -> Iterator[Candidate]:
    """What suits callers at once: threads that don't get in each other's way."""
    yield _with(loaded, spinning=False)
    yield _with(loaded, threads=1)
    share = most // loaded.concurrency
    if loaded.concurrency > 1 and share > 1:
        yield _with(loaded, threads=share, spinning=False)


def _quick(default: Candidate, most: int) -> Iterator[Candidate]:
    numbers = _thread_numbers(most)
    yield _with(default, threads=1)
    yield _with(default, spinning=False)
    yield _with(default, binding=True)
    yield _with(default, binding=True, spinning=False)
    yield _with(default, binding=True, threads=1)
    for number in numbers:
        yield _with(default, threads=number)
        if number > 1:  # one thread has nobody to wait for
            yield _with(default, threads=number, spinning=False)
    yield _with(default, level="extended")
    yield from (_with(default, **{name: False}) for name in _LEAN)
    yield from (_with(default, level=level) for level in _LEVELS[1:])


def _lean(default: Candidate, most: int) -> Iterator[Candidate]:
    yield _with(default, arena=False)
    yield _with(default, **_LEAN)
    yield _with(default, arena=False, memory_pattern=False)
    yield _with(default, prepacking=False)
    yield _with(default, memory_pattern=False)
    yield _with(default, threads=1)
    yield _with(default, threads=1, **_LEAN)
    yield from (_with(default, level=level) for level in _LEVELS)
    yield _with(default, level="basic", **_LEAN)
    yield from (_with(default, threads=number) for number in _thread_numbers(most))


def _thread_numbers(most: int) -> list[int]:
    """All cores, half of them, and so on; and one. At most six."""
    return sorted({max(1, most >> shift) for shift in range(5)} | {1})

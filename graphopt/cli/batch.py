"""Several models in one call: one after the other, a table, one exit code."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from graphopt.cli.console import Progress, explained, say, show
from graphopt.cli.optimizing import Settings, optimize_one
from graphopt.cli.places import Job
from graphopt.errors import ExitCode

if TYPE_CHECKING:
    from graphopt.report.batch import Batch, ModelOutcome

WORST_FIRST = (
    ExitCode.USAGE,
    ExitCode.BAD_FILE,
    ExitCode.NO_PROVIDER,
    ExitCode.CHECK_FAILED,
    ExitCode.INCONCLUSIVE,
    ExitCode.DONE,
)
"""The earlier one is the code of both: the earlier, the less was found out about the model."""


def worst(codes: Iterable[int]) -> int:
    """The one exit code of several models."""
    return int(min(map(ExitCode, codes), key=WORST_FIRST.index, default=ExitCode.DONE))


def optimize_each(settings: Settings, jobs: Sequence[Job], progress: Progress) -> Batch:
    """Optimise one model after the other; what fails is said on stderr and stops no other.

    Only an interrupt ends all of it.
    """
    from graphopt.report.batch import Batch

    outcomes = []
    for number, job in enumerate(jobs, 1):
        where = f"{number}/{len(jobs)} {job.model}"
        outcomes.append(_one(settings, job, _prefixed(progress, where)))
    return Batch(worst(item.exit_code for item in outcomes), tuple(outcomes))


def _prefixed(progress: Progress, where: str) -> Progress:
    return lambda what: progress(f"{where}: {what}")


def _one(settings: Settings, job: Job, progress: Progress) -> ModelOutcome:
    from graphopt.report.batch import ModelOutcome

    try:
        outcome = optimize_one(settings, job, progress)
    except Exception as error:
        if settings.request.verbose:
            traceback.print_exception(error)
        code, lines = explained(error, job.model)
        say(*lines)
        return ModelOutcome(str(job.model), int(code), lines[0].partition("error: ")[2], None)
    reason = None
    if outcome.refusal is not None:
        reason = outcome.refusal.reason
        say(f"error: {job.model}: {reason}; nothing was written")
    if settings.request.verbose and not settings.request.json:
        from graphopt.report.text import render_report

        show(render_report(outcome.report, verbose=True))
    code = ExitCode.DONE if reason is None else ExitCode.CHECK_FAILED
    return ModelOutcome(str(job.model), int(code), reason, outcome.report)

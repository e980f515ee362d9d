"""What is measured beside the timing: placement always, the rest when it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from graphopt.benching.fallback import check_fallback
from graphopt.benching.memory import measure_memory
from graphopt.benching.options import BenchOptions
from graphopt.benching.placement import measure_placement
from graphopt.benching.profile import measure_profile
from graphopt.benching.runner import CaseInput
from graphopt.benching.startup import measure_startup
from graphopt.benching.subject import Subject
from graphopt.report.bench import Arm, Case, Placement
from graphopt.runtime.settings import CPU

_PROFILE_RUNS = 20


def judge_placement(
    subjects: Sequence[Subject],
    case: CaseInput,
    macs: Sequence[int | None],
    options: BenchOptions,
) -> list[Placement | None]:
    """Find out where the nodes of each model run, and refuse what was not asked for.

    On the CPU there is nothing to find out.

    Raises:
        ProviderUnavailable: Nodes run elsewhere than on the provider, and carry too much.
        RuntimeFailure: A model does not load or run.
    """
    settings = case.settings
    if settings.provider.name == CPU:
        return [None for _ in subjects]
    found: list[Placement | None] = []
    for subject, count in zip(subjects, macs, strict=True):
        options.progress(f"looking where the nodes of {subject.described.name} run")
        placement = measure_placement(subject.path, settings, case.feeds[0], subject.model, count)
        check_fallback(
            placement,
            settings.provider.name,
            strict=options.strict_provider,
            allow=options.allow_fallback,
            file=subject.path,
        )
        found.append(placement)
    return found


def add_extras(
    found: Case, case: CaseInput, placements: Sequence[Placement | None], options: BenchOptions
) -> Case:
    """The case with what was asked for on top of times.

    Raises:
        RuntimeFailure: A model fails on the way.
    """
    arms = []
    for index, arm in enumerate(found.arms):
        placed = dataclasses.replace(arm, placement=placements[index])
        arms.append(_measured(placed, case, index, options))
    return dataclasses.replace(found, arms=arms)


def _measured(arm: Arm, case: CaseInput, index: int, options: BenchOptions) -> Arm:
    path, feeds, settings = case.paths[index], case.feeds[0], case.settings
    if options.cold:
        options.progress(f"starting {arm.model} afresh")
        startup = measure_startup(path, settings, feeds, options.processes)
        arm = dataclasses.replace(arm, startup=startup)
    if options.memory:
        options.progress(f"measuring the memory of {arm.model}")
        arm = dataclasses.replace(arm, memory=measure_memory(path, settings, feeds))
    if options.profile:
        options.progress(f"profiling {arm.model}")
        nodes = measure_profile(path, settings, feeds, _PROFILE_RUNS)
        arm = dataclasses.replace(arm, profile=nodes)
    return arm

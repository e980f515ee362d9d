"""The whole of a benchmark: every model, in every case, and what is asked of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product

from graphopt.benching.assemble import assemble_case, decide
from graphopt.benching.environment import describe_environment
from graphopt.benching.extras import add_extras, judge_placement
from graphopt.benching.feeds import (
    batch_of,
    batched,
    check_batch,
    check_stated_batch,
    generated_feeds,
)
from graphopt.benching.loaded import is_bound
from graphopt.benching.nvidia import read_devices
from graphopt.benching.options import BenchOptions
from graphopt.benching.runner import CaseInput, time_case
from graphopt.benching.subject import Subject, subjects_of
from graphopt.errors import DataError, RuntimeFailure, UsageError
from graphopt.model import Model
from graphopt.report.bench import BENCH_SCHEMA_VERSION, BenchReport, Case
from graphopt.report.requirement import check_measurable
from graphopt.runtime import Session, shared_runtime
from graphopt.runtime.availability import check_available
from graphopt.runtime.settings import CUDA, OPENVINO, Provider
from graphopt.verify.baseline import first_line
from graphopt.verify.inputs import Feeds, check_shapes


@dataclass(frozen=True, slots=True)
class _Conditions:
    """What one case runs under, before inputs are known."""

    provider: Provider
    threads: int
    batch: int | None


def bench_models(models: Sequence[Model], options: BenchOptions) -> BenchReport:
    """Time models side by side.

    Args:
        models: Read from files; the first is the reference.
        options: How.

    Returns:
        The report; `outcome` says whether the requirements are met.

    Raises:
        UsageError: Options that do not go together, or models that take different inputs.
        ProviderUnavailable: A provider is not to be had, or left nodes to another one.
        DataError: The reference does not run on the inputs.
        RuntimeFailure: A model does not load or run, or crashes its process.
    """
    options.check()
    check_measurable(options.requirements, "bench")
    if not models:
        raise UsageError("there is no model to time")
    started, clock = datetime.now(UTC), time.monotonic()
    environment = describe_environment()
    for provider in options.providers:
        check_available(provider)
    subjects = subjects_of(models)
    conditions = [
        _Conditions(*one) for one in product(options.providers, options.threads, options.batches)
    ]
    feeds = {batch: feeds_for(subjects, batch, options) for batch in dict.fromkeys(options.batches)}
    share = options.seconds / max(1, len(conditions))
    cases = [_case(subjects, c, feeds[c.batch], options, share) for c in conditions]
    return BenchReport(
        schema=BENCH_SCHEMA_VERSION,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - clock,
        seed=options.seed,
        reference=subjects[0].described.name,
        models=[subject.described for subject in subjects],
        cases=cases,
        requirements=decide(options.requirements, cases),
        environment=dataclasses.replace(environment, devices=read_devices()),
        session=options.session.changed(),
    )


def _case(
    subjects: Sequence[Subject],
    condition: _Conditions,
    feeds: Sequence[Feeds],
    options: BenchOptions,
    seconds: float,
) -> Case:
    provider = _with_options(condition, options)
    settings = dataclasses.replace(options.session, provider=provider, threads=condition.threads)
    case = CaseInput(
        [subject.path for subject in subjects],
        feeds,
        settings,
        is_bound(settings, options.binding),
    )
    macs = [subject.macs(feeds[0]) for subject in subjects]
    placements = judge_placement(subjects, case, macs, options)
    samples = time_case(case, options, seconds)
    names = [subject.described.name for subject in subjects]
    batch = condition.batch or batch_of(feeds[0])
    found = assemble_case(case, samples, names, macs, batch, options)
    return add_extras(found, case, placements, options)


def _with_options(condition: _Conditions, options: BenchOptions) -> Provider:
    """The provider with the options that other options stand for; those given by name win."""
    provider, implied = condition.provider, {}
    if options.cuda_graph and provider.name == CUDA:
        implied["enable_cuda_graph"] = "1"
    if condition.threads and provider.name == OPENVINO:
        implied["num_of_threads"] = str(condition.threads)  # it does not heed the session's
    return Provider(provider.name, {**implied, **provider.options})


def feeds_for(
    subjects: Sequence[Subject], batch: int | None, options: BenchOptions
) -> tuple[Feeds, ...]:
    """Input sets that the reference runs with, on the CPU with default settings.

    Args:
        subjects: The models, the reference first.
        batch: Size of open batch dimensions; None leaves the data's own, or 1.
        options: Shapes, data and seed.

    Raises:
        UsageError: A model's batch is fixed, to another size.
        DataError: The reference does not run on the inputs.
        RuntimeFailure: It does not load, crashes, or takes too long.
    """
    reference = subjects[0]
    for subject in subjects:
        check_batch(subject.model, subject.inputs, batch)
    check_stated_batch(options.shapes, reference.inputs, batch)
    path = reference.path.absolute()  # the runtime process may have begun in another folder
    opened = None
    try:
        opened = shared_runtime().open(Session(path, level="all"))
        if options.data is None:
            shapes = check_shapes(options.shapes, reference.inputs)
            made = generated_feeds(
                reference.model, reference.inputs, opened, batch=batch, shapes=shapes,
                seed=options.seed,
            )  # fmt: skip
            return (made,)
        sets = tuple(batched(feeds, reference.inputs, batch) for feeds in options.data)
        if not sets:
            raise DataError("the data holds no input set", file=reference.path)
        for feeds in sets:
            opened.run(feeds)
        return sets
    except RuntimeFailure as error:
        said = first_line(error, path)
        if error.kind == "run":
            raise DataError(
                f"does not run on the data given: {said}", file=reference.path
            ) from error
        raise RuntimeFailure(said, kind=error.kind, file=reference.path) from error
    finally:
        if opened is not None:
            opened.close()

"""Which models a command works on, and where each result goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphopt.errors import FileError, UsageError

SUFFIX = ".onnx"


@dataclass(frozen=True, slots=True)
class Job:
    """One model, and where its result goes.

    Attributes:
        output: The file; None writes nothing.
        makes_folder: Its folder is made when it is not there.
    """

    model: Path
    output: Path | None
    makes_folder: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call works on.

    Attributes:
        jobs: The models, in the order given; those of a folder by their paths.
        several: True for more than one argument, and for a folder, whatever it holds.
        notes: What was passed over, one line each.
    """

    jobs: tuple[Job, ...]
    several: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """A model, and where it lies below the output folder."""

    path: Path
    relative: Path


def plan_jobs(models: Sequence[Path], output: str | None, *, in_place: bool, dry_run: bool) -> Plan:
    """Find the models and the place of every result; nothing is written.

    Args:
        models: Files and folders; a folder stands for the .onnx files in it, at any depth,
            but for hidden ones.
        output: The file to write, or a folder: then a model keeps its name, and one out of a
            folder its place in there. What ends with a slash is a folder; it, and the one for
            several models, need not be there.
        in_place: Every model is replaced itself.
        dry_run: No result is written; `output` may be missing.

    Raises:
        UsageError: No output is stated, two results would be one file, or a result would replace
            a model that was given.
        FileError: A folder cannot be read or holds no model, or the output is no folder where it
            must be one.
    """
    if in_place and output is not None:
        raise UsageError("--in-place and -o exclude each other")
    if output is None and not in_place and not dry_run:
        raise UsageError("no output", hint="give -o OUT, --in-place or --dry-run")
    several = len(models) > 1 or models[0].is_dir()
    place = None if output is None else Path(output)
    new = several or (output or "").endswith(("/", os.sep))
    if place is not None and new:
        _check_folder(place, several=several)
    notes: list[str] = []
    found = [item for path in models for item in _found(path, place, notes)]
    if in_place:
        found = _without_second_names(found)
    inside = new or (place is not None and place.is_dir())
    jobs = [
        Job(item.path, item.path if in_place else _target(item, place, inside=inside), new)
        for item in found
    ]
    _check_targets(jobs, in_place=in_place)
    if dry_run:
        jobs = [Job(job.model, None) for job in jobs]
    return Plan(tuple(jobs), several, tuple(notes))


def _check_folder(output: Path, *, several: bool) -> None:
    if output.exists() and not output.is_dir():
        hint = "several models need a folder: -o DIR" if several else None
        raise FileError("is no folder", file=output, hint=hint)
    if several and not output.exists() and output.suffix == SUFFIX:
        raise UsageError(
            "several models need a folder", file=output, hint="-o DIR; it is made if need be"
        )


def _target(item: _Found, output: Path | None, *, inside: bool) -> Path | None:
    return output / item.relative if output is not None and inside else output


def _found(path: Path, output: Path | None, notes: list[str]) -> list[_Found]:
    if not path.is_dir():
        return [_Found(path, Path(path.name))]
    root = path.resolve()
    found = []
    for name in _files(path, output):
        if name.suffix.lower() != SUFFIX:
            continue
        if _leads_out(path / name, root):
            notes.append(f"{path / name}: passed over, a link that leads out of the folder")
        else:
            found.append(_Found(path / name, name))
    if not found:
        raise FileError(f"holds no {SUFFIX} file", file=path)
    return found


def _files(folder: Path, output: Path | None) -> list[Path]:
    """Every file below a folder that is not hidden, relative to it.

    Links to folders, hidden folders (environments, caches) and the output are not entered.

    Raises:
        FileError: A folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise FileError(f"cannot be read: {error.strerror}", file=error.filename) from error

    skipped = output.resolve() if output is not None else None
    found = []
    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(place, name).resolve() != skipped
        ]
        seen = (name for name in names if not name.startswith("."))
        found += [Path(place, name).relative_to(folder) for name in seen]
    return sorted(found)


def _leads_out(path: Path, root: Path) -> bool:
    try:
        return path.is_symlink() and not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link that leads to itself: reading it will say so
        return False


def _without_second_names(found: list[_Found]) -> list[_Found]:
    """Leave out links to models that are there themselves: each is replaced once."""
    real = {os.path.realpath(item.path) for item in found if not item.path.is_symlink()}
    return [
        item
        for item in found
        if not item.path.is_symlink() or os.path.realpath(item.path) not in real
    ]


def _check_targets(jobs: Sequence[Job], *, in_place: bool) -> None:
    """Two results must not be one file, and none may be a model that is still to be read."""
    inputs = {_identity(job.model) for job in jobs}
    writers: dict[str, Path] = {}
    for job in jobs:
        if job.output is None:
            continue
        place = os.path.normcase(os.path.realpath(job.output))
        if place in writers:
            raise UsageError(
                f"{writers[place]} and {job.model} would both be written to {job.output}",
                hint="write them to different folders, in two calls",
            )
        writers[place] = job.model
        if not in_place and job.output.exists() and _identity(job.output) in inputs:
            raise UsageError(
                "the output is the input", file=job.output, hint="say --in-place if you mean it"
            )


def _identity(path: Path) -> object:
    """What two names of one file have in common."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino

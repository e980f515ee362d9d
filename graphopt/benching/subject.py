"""The models of a benchmark: read once, named, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graphopt.benching.feeds import model_inputs
from graphopt.errors import UsageError
from graphopt.graph import measure
from graphopt.model import Model
from graphopt.report.bench import BenchModel
from graphopt.verify.inputs import Feeds, InputSpec


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to time.

    Attributes:
        path: The file that sessions load.
        model: It, read.
        inputs: What it must be fed.
        described: What the report says of it.
    """

    path: Path
    model: Model
    inputs: tuple[InputSpec, ...]
    described: BenchModel

    def macs(self, feeds: Feeds) -> int | None:
        """Multiply-accumulates of one run on such inputs; None when unknown."""
        shapes = {
            spec.name: tuple(feeds[spec.name].shape)
            for spec in self.inputs
            if hasattr(feeds.get(spec.name), "shape")
        }
        return measure(self.model, shapes).macs


def subjects_of(models: Sequence[Model]) -> list[Subject]:
    """Describe models that lie in files.

    Args:
        models: The reference first; each was read from a path.

    Raises:
        UsageError: One cannot be fed what the reference is fed.
    """
    paths = [Path(str(model.path)) for model in models]
    found = [
        _subject(path, model, name)
        for path, model, name in zip(paths, models, short_names(paths), strict=True)
    ]
    wanted = {spec.name: (spec.dtype, spec.is_sequence) for spec in found[0].inputs}
    for subject in found[1:]:
        other = {spec.name: (spec.dtype, spec.is_sequence) for spec in subject.inputs}
        if other != wanted:
            differing = sorted(set(wanted.items()) ^ set(other.items()), key=str)[0][0]
            raise UsageError(
                f"takes other inputs than {found[0].path}: {differing!r}",
                file=subject.path,
                hint="models that are compared take inputs of the same names and types",
            )
    return found


def short_names(paths: Sequence[Path]) -> list[str]:
    """The least of each path's end that tells it from the others; the same file is numbered.

    >>> short_names([Path("a/m.onnx"), Path("b/m.onnx"), Path("b/n.onnx")])
    ['a/m', 'b/m', 'n']
    """
    names = []
    for path in paths:
        parts = path.with_suffix("").parts
        others = {other for other in paths if other != path}
        length = 1
        while length < len(parts) and any(
            other.with_suffix("").parts[-length:] == parts[-length:] for other in others
        ):
            length += 1
        names.append("/".join(parts[-length:]))
    return _numbered(names)


def _numbered(names: Sequence[str]) -> list[str]:
    """Names made unique: a number behind each that was there before."""
    unique: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in unique or (number > 1 and candidate in names):
            number += 1
            candidate = f"{name} ({number})"
        unique.append(candidate)
    return unique


def _subject(path: Path, model: Model, name: str) -> Subject:
    stats = measure(model)
    source = model.source
    described = BenchModel(
        name=name,
        path=str(path),
        sha256="" if source is None else source.sha256,
        file_bytes=stats.file_bytes,
        parameters=stats.parameters,
        nodes=stats.nodes,
    )
    return Subject(path, model, tuple(model_inputs(model)), described)

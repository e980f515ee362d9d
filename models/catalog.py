"""Reads `catalog.toml`: where each model comes from, and how to feed it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from models.errors import ModelError

FOLDER = Path(__file__).parent

Kind = Literal["wheel", "sdist"]
Field = TypeVar("Field")


class Values(Protocol):
    """What an input's elements look like."""

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Draw one array of `shape`, in the rule's own dtype."""


@dataclass(frozen=True)
class Uniform:
    """Floating point values, uniform from `low` to below `high`."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Draw a float64 array of `shape`."""
        return np.asarray(rng.uniform(self.low, self.high, shape))


@dataclass(frozen=True)
class Integers:
    """Whole values, uniform from `low` to `high`, both included."""

    low: int
    high: int

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Draw an int64 array of `shape`."""
        return np.asarray(rng.integers(self.low, self.high, shape, endpoint=True))


@dataclass(frozen=True)
class Constant:
    """One value everywhere, such as a sample rate in Hz."""

    value: float

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return a full array of `shape`; draws nothing from `rng`."""
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Digits:
    """Digits of `calibration.npz`, scaled to 0..1; shapes are [batch, 1, 28, 28]."""

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Draw `shape[0]` images as a float32 array of `shape`."""
        images = calibration_images()
        chosen = images[rng.integers(len(images), size=shape[0])]
        return chosen.reshape(shape).astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class Distribution:
    """One pinned release of a Python package, in one of its archive forms."""

    package: str
    version: str
    kind: Kind

    def __str__(self) -> str:
        """Name the release for messages, e.g. `magika 1.0.3 (wheel)`."""
        return f"{self.package} {self.version} ({self.kind})"


@dataclass(frozen=True)
class CatalogInput:
    """One input of a model: its numpy dtype, and the shapes that are good for feeding it.

    `shapes[i]` of every input of a model belong together.
    """

    name: str
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    values: Values


@dataclass(frozen=True)
class CatalogModel:
    """One model of the catalogue.

    `path` is relative to the wheel's root, to the sdist's top folder, or to `models/` for a
    shipped model, which has no `distribution`. `accuracy` is the share of the 1,000 images of
    `test.npz` that a shipped model gets right.
    """

    name: str
    task: str
    distribution: Distribution | None
    path: str
    sha256: str
    licence: str
    licence_read: str
    inputs: tuple[CatalogInput, ...]
    accuracy: float | None = None


@cache
def calibration_images() -> npt.NDArray[np.uint8]:
    """The 1,000 unlabelled digits of `calibration.npz`: uint8 [1000, 28, 28], read-only."""
    with np.load(FOLDER / "calibration.npz") as archive:
        images: npt.NDArray[np.uint8] = archive["images"]
    images.flags.writeable = False
    return images


@cache
def load_catalog(path: Path = FOLDER / "catalog.toml") -> tuple[CatalogModel, ...]:
    """Read the catalogue, in the file's order.

    Raises:
        ModelError: if a table lacks a field, or a field's value is not what README.md describes.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8")).get("model", [])
    models = tuple(_model(table) for table in tables)
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ModelError(f"{path.name}: two models have one name")
    return models


def by_name(name: str) -> CatalogModel:
    """The model called `name`.

    Raises:
        ModelError: if the catalogue has none.
    """
    for model in load_catalog():
        if model.name == name:
            return model
    known = ", ".join(model.name for model in load_catalog())
    raise ModelError(f"no model {name!r} in the catalogue; it has {known}")


def feeds(
    model: CatalogModel, seed: int, *, shape_set: int | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Valid inputs for `model`, the same for the same seed.

    Args:
        model: the model to feed.
        seed: chooses the values, and, unless `shape_set` is given, the shapes: consecutive seeds
            go through the shape sets in turn.
        shape_set: which of the inputs' `shapes` to use.

    Returns:
        One array per input, by input name, of the input's dtype.

    Raises:
        ModelError: if the model has no shape set of that number.
    """
    count = len(model.inputs[0].shapes)
    chosen = seed % count if shape_set is None else shape_set
    if not 0 <= chosen < count:
        raise ModelError(f"{model.name}: no shape set {chosen}; it has {count}")
    rng = np.random.default_rng(seed)
    return {
        entry.name: entry.values.draw(rng, entry.shapes[chosen]).astype(entry.dtype)
        for entry in model.inputs
    }


def _field(table: Mapping[str, Any], key: str, kind: type[Field], where: str) -> Field:
    value = table.get(key)
    if not isinstance(value, kind):
        raise ModelError(f"catalog.toml: {where} needs {key!r}, a {kind.__name__}")
    return value


def _model(table: Mapping[str, Any]) -> CatalogModel:
    name = _field(table, "name", str, "a model")
    inputs = tuple(_input(entry, name) for entry in _field(table, "input", list, name))
    if len({len(entry.shapes) for entry in inputs}) != 1:
        raise ModelError(f"catalog.toml: {name}: its inputs have unequal numbers of shapes")
    return CatalogModel(
        name=name,
        task=_field(table, "task", str, name),
        distribution=_distribution(table, name),
        path=_field(table, "path", str, name),
        sha256=_field(table, "sha256", str, name),
        licence=_field(table, "licence", str, name),
        licence_read=_field(table, "licence_read", str, name),
        inputs=inputs,
        accuracy=_field(table, "accuracy", float, name) if "accuracy" in table else None,
    )


def _distribution(table: Mapping[str, Any], name: str) -> Distribution | None:
    source = _field(table, "source", str, name)
    if source == "shipped":
        return None
    for kind in get_args(Kind):
        if source == kind:
            package = _field(table, "package", str, name)
            return Distribution(package, _field(table, "version", str, name), kind)
    raise ModelError(f"catalog.toml: {name}: unknown source {source!r}")


def _input(table: Mapping[str, Any], model: str) -> CatalogInput:
    name = _field(table, "name", str, f"an input of {model}")
    where = f"input {name!r} of {model}"
    rule = _field(table, "values", dict, where)
    kind = _field(rule, "kind", str, where)
    read = _VALUES.get(kind)
    if read is None:
        raise ModelError(f"catalog.toml: {where}: unknown kind of values {kind!r}")
    return CatalogInput(
        name=name,
        dtype=_field(table, "dtype", str, where),
        shapes=tuple(tuple(shape) for shape in _field(table, "shapes", list, where)),
        values=read(rule, where),
    )


_VALUES: dict[str, Callable[[Mapping[str, Any], str], Values]] = {
    "uniform": lambda rule, where: Uniform(
        _field(rule, "low", float, where), _field(rule, "high", float, where)
    ),
    "integers": lambda rule, where: Integers(
        _field(rule, "low", int, where), _field(rule, "high", int, where)
    ),
    "constant": lambda rule, where: Constant(_field(rule, "value", int, where)),
    "digits": lambda rule, where: Digits(),
}

"""Recipes: stages of passes, kept as TOML in a user's repository."""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli_w

from graphopt.contract import AnyPass, Effect
from graphopt.engine.options import make_pass
from graphopt.engine.registry import suggestion
from graphopt.errors import FileError, UsageError

DEFAULT_REPEAT = 8
_TOP_KEYS = {"description", "admits", "stage"}
_STAGE_KEYS = {"repeat", "pass"}


@dataclass(frozen=True, slots=True)
class PassSpec:
    """A pass by name, with the options that differ from its defaults."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    instance: AnyPass | None = field(default=None, compare=False)

    @classmethod
    def of(cls, instance: AnyPass) -> PassSpec:
        """A pass object as it stands, registered or not."""
        fields: tuple[dataclasses.Field[Any], ...] = (
            dataclasses.fields(instance) if dataclasses.is_dataclass(instance) else ()
        )
        values = {field.name: getattr(instance, field.name) for field in fields}
        changed = {f.name: _as_text(values[f.name]) for f in fields if values[f.name] != f.default}
        return cls(instance.name, changed, instance)

    def normalised(self) -> PassSpec:
        """The same pass with typed options, only those that differ from its defaults."""
        return replace(PassSpec.of(self.make()), instance=self.instance)

    def make(self) -> AnyPass:
        """The pass; see options.make_pass for errors."""
        return self.instance or make_pass(self.name, self.options)


@dataclass(frozen=True, slots=True)
class Stage:
    """Passes run in rounds until a whole round makes no edit, at most `repeat` rounds."""

    passes: tuple[PassSpec, ...]
    repeat: int = DEFAULT_REPEAT


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to do to a model.

    Attributes:
        admits: The strongest effect that a rewrite may have.
    """

    name: str
    stages: tuple[Stage, ...]
    admits: Effect = Effect.LOSSY
    description: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of its text, hexadecimal: the same recipe, the same digest."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()

    def to_text(self) -> str:
        """The recipe as TOML; `parse_recipe` gives it back."""
        stages = [
            {
                "repeat": stage.repeat,
                "pass": [{"name": spec.name, **spec.options} for spec in stage.passes],
            }
            for stage in self.stages
        ]
        head: dict[str, Any] = {"description": self.description} if self.description else {}
        return tomli_w.dumps({**head, "admits": self.admits.value, "stage": stages})

    def extended(self, specs: Iterable[PassSpec]) -> Recipe:
        """The recipe with one more stage."""
        added = tuple(spec.normalised() for spec in specs)
        if not added:
            return self
        name = f"{self.name} + {', '.join(spec.name for spec in added)}"
        admits = Effect.LOSSY
        return Recipe(name, (*self.stages, Stage(added)), admits, self.description)


def recipe_of(specs: Iterable[PassSpec]) -> Recipe:
    """A recipe of one stage, from passes alone."""
    passes = tuple(spec.normalised() for spec in specs)
    return Recipe(", ".join(spec.name for spec in passes), (Stage(passes),))


def built_in() -> list[str]:
    """Names of the recipes that come with graphopt."""
    folder = files("graphopt.recipes")
    names = [entry.name for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return sorted(name.removesuffix(".toml") for name in names)


def load_recipe(name: str | Path) -> Recipe:
    """A built-in recipe by name, or one from a TOML file.

    Raises:
        UsageError: No such recipe, or a key, pass or value that means nothing.
        FileError: The file cannot be read.
    """
    if isinstance(name, str) and name in built_in():
        text = files("graphopt.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
        return parse_recipe(text, name)
    path = Path(name)
    if path.suffix != ".toml" and not path.exists():
        raise UsageError(
            f"there is no recipe {str(name)!r}", hint=suggestion(str(name), built_in())
        )
    try:
        return parse_recipe(path.read_text(encoding="utf-8"), path.stem, file=path)
    except FileNotFoundError as error:
        raise FileError("no such file", file=path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot be read: {error}", file=path) from error


def parse_recipe(text: str, name: str, file: Path | None = None) -> Recipe:
    """Parse a recipe; every pass in it is made once, so that mistakes show at once.

    Raises:
        UsageError: A key, pass or value that means nothing, with a suggestion.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"is not TOML: {error}", file=file or name) from error
    try:
        recipe = _recipe(data, name)
        recipe = replace(recipe, stages=tuple(map(_normalised, recipe.stages)))
    except UsageError as error:
        error.file = error.file or str(file or name)
        raise
    return recipe


def _normalised(stage: Stage) -> Stage:
    """Every pass made once: mistakes show, and spelling and order no longer matter."""
    return replace(stage, passes=tuple(spec.normalised() for spec in stage.passes))


def _as_text(value: Any) -> Any:
    """What TOML can hold of an option: None is written as text, tuples as lists."""
    if value is None:
        return "none"
    return list(value) if isinstance(value, tuple) else value


def _recipe(data: dict[str, Any], name: str) -> Recipe:
    _known(data, _TOP_KEYS, "recipe")
    stages = data.get("stage", [])
    if not isinstance(stages, list) or not stages:
        raise UsageError("has no [[stage]]", hint="see `graphopt recipes exact`")
    try:
        admits = Effect(data.get("admits", Effect.LOSSY))
    except ValueError:
        choices = ", ".join(Effect)
        raise UsageError(f"admits = {data['admits']!r}", hint=f"one of: {choices}") from None
    return Recipe(name, tuple(map(_stage, stages)), admits, str(data.get("description", "")))


def _stage(data: Any) -> Stage:
    if not isinstance(data, dict):
        raise UsageError("a stage is a table: write [[stage]]")
    _known(data, _STAGE_KEYS, "stage")
    repeat = data.get("repeat", DEFAULT_REPEAT)
    if not isinstance(repeat, int) or isinstance(repeat, bool) or repeat < 1:
        raise UsageError(f"repeat = {repeat!r} is not a whole number from 1 on")
    passes = data.get("pass", [])
    if not isinstance(passes, list) or not passes:
        raise UsageError("a stage has no [[stage.pass]]")
    return Stage(tuple(map(_spec, passes)), repeat)


def _spec(data: Any) -> PassSpec:
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise UsageError("a pass needs a name")
    return PassSpec(data["name"], {k: v for k, v in data.items() if k != "name"})


def _known(data: dict[str, Any], keys: set[str], what: str) -> None:
    for key in data:
        if key not in keys:
            raise UsageError(f"unknown {what} key {key!r}", hint=suggestion(key, keys))

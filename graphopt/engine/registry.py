"""Finding passes: one entry point per distribution names a package, its files are the passes.

Nothing is imported before a pass is used: a name is a file name, `verb_object.py` holds the class
`VerbObject`. A third party adds passes in the same way, with its own entry point.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from graphopt.contract import AnyPass
from graphopt.errors import UsageError

GROUP = "graphopt.passes"
_BUILT_IN = ("graphopt", "graphopt.passes")


@dataclass(frozen=True, slots=True)
class PassEntry:
    """A pass that can be used.

    Attributes:
        name: What users type; the file name.
        category: The folder it lies in, empty for the package itself.
        module: Where it is imported from.
        distribution: Who brought it.
    """

    name: str
    category: str
    module: str
    distribution: str

    def load(self) -> type[AnyPass]:
        """Import the pass's class.

        Raises:
            UsageError: The module cannot be imported or does not hold the class.
        """
        class_name = class_of(self.name)
        try:
            found = getattr(importlib.import_module(self.module), class_name)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"{self.module} of {self.distribution} cannot be used: {error}",
                pass_name=self.name,
                hint=f"it must define the class {class_name}",
            ) from error
        loaded: type[AnyPass] = found
        return loaded


def class_of(name: str) -> str:
    """The class name that belongs to a pass's name: fuse_conv_batchnorm, FuseConvBatchnorm."""
    return "".join(part.capitalize() for part in name.split("_"))


@cache
def available() -> dict[str, PassEntry]:
    """Every pass there is, by name.

    Raises:
        UsageError: Two distributions bring a pass of the same name.
    """
    packages = {_BUILT_IN[1]: _BUILT_IN[0]}
    for point in entry_points(group=GROUP):
        packages[point.value] = point.dist.name if point.dist else point.name
    found: dict[str, PassEntry] = {}
    for package, distribution in packages.items():
        for entry in _files(package, distribution):
            other = found.get(entry.name)
            if other is not None:
                raise UsageError(
                    f"both {other.distribution} and {entry.distribution} bring a pass "
                    f"{entry.name!r}",
                    hint="uninstall one of them",
                )
            found[entry.name] = entry
    return dict(sorted(found.items(), key=lambda item: (item[1].category, item[0])))


def find(name: str) -> PassEntry:
    """The pass of that name; dashes count as underscores.

    Raises:
        UsageError: There is none, with the closest name that exists.
    """
    entries = available()
    wanted = name.replace("-", "_")
    if wanted in entries:
        return entries[wanted]
    raise UsageError(f"there is no pass {name!r}", hint=suggestion(wanted, entries))


def suggestion(name: str, known: Any) -> str:
    """A hint that names the closest of the known names, or all of them when few."""
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(sorted(known))}"


def _files(package: str, distribution: str) -> list[PassEntry]:
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"{distribution} names the package {package!r} in its entry point, which is not there",
            hint=f"reinstall or uninstall {distribution}",
        )
    entries = []
    for location in spec.submodule_search_locations:
        root = Path(location)
        for file in sorted(root.rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            if not any(part.startswith(("_", ".")) for part in parts):
                module = ".".join((package, *parts))
                category = "/".join(parts[:-1])
                entries.append(PassEntry(parts[-1], category, module, distribution))
    return entries

"""Which distributions install `onnxruntime`, and whether their files are still their own.

onnxruntime, onnxruntime-gpu, onnxruntime-openvino and others all bring the package `onnxruntime`:
whichever is installed last overwrites the others' files, and uninstalling one removes files of all.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath

from graphopt.report.findings import Finding, Level

PACKAGE = "onnxruntime"

_BUILDS = (
    "azure|cann|coreml|cpu|cuda|directml|extended|gpu|migraphx|nightly|noopenmp|openmp|openvino|"
    "powerpc64le|qnn|rocm|rtx|silicon|training|trt|vitisai|webgpu|windowsml"
)
_NAMED = re.compile(rf"(onnxruntime|ort(?=.*-nightly))(-({_BUILDS}))*")
"""Names of builds of ONNX Runtime, for distributions that list no files."""

_COMPILED = (".so", ".pyd", ".dll", ".dylib")


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file as its distribution's RECORD lists it: POSIX path, bytes, base64 of its SHA-256."""

    path: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Installed:
    """A distribution that installs the package `onnxruntime`.

    Attributes:
        name: Its name, normalised (lower case, dashes).
        version: Its version.
        folder: The folder of sys.path that it lies in.
        files: Its files below onnxruntime/; None when it lists none.
    """

    name: str
    version: str
    folder: Path
    files: tuple[RecordedFile, ...] | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Files of a distribution that are not as it installed them."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]


def installed_runtimes(path: Sequence[str] | None = None) -> list[Installed]:
    """Every distribution that installs `onnxruntime`, by folder as on sys.path, then by name.

    Files decide where a distribution lists them: onnxruntime-genai brings no `onnxruntime`, and
    some builds named after a provider are plug-ins beside it. The name decides elsewhere.

    Args:
        path: Folders to look in; sys.path when None.
    """
    found: dict[tuple[str, str, Path], Installed] = {}
    for distribution in distributions(path=list(sys.path if path is None else path)):
        one = _installed(distribution)
        if one is not None:
            found.setdefault((one.name, one.version, one.folder), one)
    folders = list(dict.fromkeys(one.folder for one in found.values()))
    return sorted(found.values(), key=lambda one: (folders.index(one.folder), one.name))


def _installed(distribution: Distribution) -> Installed | None:
    try:
        name, version = distribution.metadata["Name"], distribution.version
        record = distribution.read_text("RECORD")
    except (OSError, KeyError, UnicodeDecodeError):
        return None
    # What pip could not remove while it was in use keeps its metadata under such a name.
    is_leftover = getattr(distribution, "_path", Path()).name.startswith("~")
    if not isinstance(name, str) or is_leftover:
        return None
    name = re.sub(r"[-_.]+", "-", name).lower()
    files = None if record is None else _recorded(record)
    if not (_NAMED.fullmatch(name) if files is None else files):
        return None
    folder = Path(str(distribution.locate_file(""))).resolve()
    return Installed(name, str(version), folder, files)


def _recorded(record: str) -> tuple[RecordedFile, ...]:
    if f"{PACKAGE}/" not in record:
        return ()
    files = []
    for row in csv.reader(record.splitlines()):
        if not row or not row[0].startswith(f"{PACKAGE}/"):
            continue
        _, digest, size = (*row, "", "")[:3]
        sha256 = digest.removeprefix("sha256=") if digest.startswith("sha256=") else None
        files.append(RecordedFile(row[0], int(size) if size.isdecimal() else None, sha256))
    return tuple(files)


def difference(installed: Installed) -> Difference:
    """Compare the files on disk with what their distribution recorded.

    Sizes of all; digests of all but compiled libraries, which installers such as conda's relocate
    in place and which are large.
    """
    missing, changed = [], []
    for file in installed.files or ():
        if file.size is None and file.sha256 is None:
            continue  # compiled Python, which anyone may remove
        state = _state(installed.folder / file.path, file)
        if state == "missing":
            missing.append(file.path)
        elif state == "changed":
            changed.append(file.path)
    return Difference(tuple(missing), tuple(sorted(changed, key=_is_small_fry)))


def _state(path: Path, file: RecordedFile) -> str:
    try:
        if file.size is not None and path.stat().st_size != file.size:
            return "changed"
        if file.sha256 is None or is_compiled(file.path):
            path.stat()
            return ""
        found = hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return "missing"
    return "" if base64.urlsafe_b64encode(found).decode().rstrip("=") == file.sha256 else "changed"


def is_compiled(path: str) -> bool:
    """True for shared libraries, versioned names included."""
    return any(suffix in _COMPILED for suffix in PurePosixPath(path).suffixes)


def _is_small_fry(path: str) -> bool:
    return not is_compiled(path)


def distribution_findings(installed: Sequence[Installed]) -> list[Finding]:
    """None, one or several distributions; several in one folder are a problem."""
    if not installed:
        wanted = wanted_runtime()
        text = "no distribution installs the package onnxruntime"
        return [Finding("distributions", PACKAGE, "problem", text, f"pip install {wanted}")]
    files = [_file_finding(one, _shares(one, installed)) for one in installed]
    return [*_together(installed), *_hidden(installed), *files]


def _together(installed: Sequence[Installed]) -> list[Finding]:
    """A finding for each folder, with all that is installed there."""
    findings = []
    for folder in dict.fromkeys(one.folder for one in installed):
        here = [one for one in installed if one.folder == folder]
        names = ", ".join(_full(one) for one in here)
        facts = {"folder": str(folder), "installed": [_full(one) for one in here]}
        if len(here) == 1:
            text = f"{names} in {folder}"
            findings.append(Finding("distributions", PACKAGE, "ok", text, facts=facts))
            continue
        text = f"{names} overwrite each other's files in {folder}"
        whole = [one for one in here if one.files and difference(one) == Difference((), ())]
        if len(whole) == 1:
            text += f"; those of {whole[0].name} are in place"
        hint = f"pip uninstall -y {_names(here)} && pip install {_keep(here)}"
        findings.append(Finding("distributions", PACKAGE, "problem", text, hint, facts))
    return findings


def _hidden(installed: Sequence[Installed]) -> list[Finding]:
    """Distributions in folders that come later on sys.path are not used."""
    first = installed[0]
    return [
        Finding(
            "distributions", one.name, "warning",
            f"{_full(one)} in {one.folder} is hidden by {_full(first)} in {first.folder}",
            f"uninstall one of the two: {first.name}, {one.name}",
            {"folder": str(one.folder), "installed": [_full(one)]},
        )
        for one in installed if one.folder != first.folder
    ]  # fmt: skip


def _shares(one: Installed, installed: Sequence[Installed]) -> bool:
    return sum(other.folder == one.folder for other in installed) > 1


def _file_finding(installed: Installed, shared: bool) -> Finding:
    if installed.files is None:
        text = "lists no files, so whether they are its own cannot be told"
        return Finding("files", installed.name, "note", text)
    found = difference(installed)
    facts = {"missing": len(found.missing), "changed": len(found.changed)}
    total = len(installed.files)
    if not found.missing and not found.changed:
        text = f"{total} files as installed"
        return Finding("files", installed.name, "ok", text, facts=facts)
    harmful = found.missing or any(map(is_compiled, found.changed))
    parts = [
        f"{len(paths)} {word} ({', '.join(paths[:2])}{', ...' if len(paths) > 2 else ''})"
        for word, paths in (("changed", found.changed), ("missing", found.missing))
        if paths
    ]
    text = f"of {total} files {', '.join(parts)}"
    # Reinstalling one of several would only damage the others.
    hint = "" if shared else reinstallation(installed)
    level: Level = "problem" if harmful else "warning"
    return Finding("files", installed.name, level, text, hint, facts)


def wanted_runtime() -> str:
    """The distribution that graphopt asks for on this machine."""
    import platform

    has_gpu_wheel = (sys.platform, platform.machine()) in {("linux", "x86_64"), ("win32", "AMD64")}
    return "onnxruntime-gpu" if has_gpu_wheel else "onnxruntime"


def reinstallation(installed: Installed) -> str:
    """The command that puts a distribution's own files back."""
    return f"pip install --force-reinstall --no-deps {_full(installed)}"


def _full(one: Installed) -> str:
    return f"{one.name}=={one.version}"


def _names(installed: Iterable[Installed]) -> str:
    return " ".join(dict.fromkeys(one.name for one in installed))


def _keep(installed: Sequence[Installed]) -> str:
    """The one worth keeping: whoever installed a build for a device wants that device."""
    names = sorted(one.name for one in installed)
    if wanted_runtime() in names:
        return wanted_runtime()
    return next((name for name in names if name != PACKAGE), PACKAGE)

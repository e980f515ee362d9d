"""Writes valid inputs for a catalogue model to a file: `python -m models.feeds NAME FILE.npz`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.catalog import by_name, feeds
from models.errors import ModelError


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one set of inputs, one array per input name, and print the file's path.

    Returns:
        The exit status: 0, or 1 with one line on standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m models.feeds", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="a model of catalog.toml")
    parser.add_argument("file", metavar="FILE.npz", type=Path, help="file to write")
    parser.add_argument("--seed", type=int, default=0, help="chooses values and shapes")
    options = parser.parse_args(arguments)
    path: Path = options.file
    try:
        inputs = feeds(by_name(options.name), options.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:  # an open file: given a path, numpy may add a suffix
            # Said outright, for numpy's stub would take one of the arrays for this keyword.
            np.savez(stream, allow_pickle=False, **inputs)
    except (ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

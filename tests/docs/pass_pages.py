"""docs/passes: a page a pass and a table of them. `make docs` writes them.

The same text as `graphopt passes NAME --markdown` prints; passes of other distributions that happen
to be installed are left out.
"""

from __future__ import annotations

from pathlib import Path

from graphopt.engine import PassEntry, available
from graphopt.engine.describe import describe
from graphopt.engine.pass_page import pass_index, pass_page

FOLDER = Path(__file__).parent.parent.parent / "docs" / "passes"
INDEX = "README.md"


def own_passes() -> list[PassEntry]:
    """The passes that come with graphopt, in the order of `graphopt passes`."""
    return [entry for entry in available().values() if entry.distribution == "graphopt"]


def expected() -> dict[str, str]:
    """The pages as they must be, by file name."""
    described = [describe(entry) for entry in own_passes()]
    pages = {f"{one.entry.name}.md": pass_page(one) for one in described}
    return {INDEX: pass_index(described), **pages}


def found(folder: Path = FOLDER) -> dict[str, str]:
    """The pages as they are, by file name."""
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}


def write(folder: Path = FOLDER) -> list[str]:
    """Bring the folder up to date; give the names of the files written or removed."""
    folder.mkdir(parents=True, exist_ok=True)
    pages, before = expected(), found(folder)
    changed = [name for name, text in pages.items() if before.get(name) != text]
    for name in changed:
        (folder / name).write_text(pages[name], encoding="utf-8")
    gone = sorted(set(before) - set(pages))
    for name in gone:
        (folder / name).unlink()
    return changed + gone


def main() -> None:
    """Write the pages and print what changed."""
    for name in write():
        print(f"docs/passes/{name}")


if __name__ == "__main__":
    main()

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pass_pages import INDEX, expected, found, own_passes, write

RUN = "run `make docs`"


@pytest.mark.parametrize("name", [INDEX, *(f"{entry.name}.md" for entry in own_passes())])
def test_page_is_there_and_up_to_date(name: str) -> None:
    pages = found()
    assert name in pages, f"docs/passes/{name} is missing: {RUN}"
    assert pages[name] == expected()[name], f"docs/passes/{name} is stale: {RUN}"


def test_no_page_is_left_over() -> None:
    assert set(found()) - set(expected()) == set(), f"these passes are gone: {RUN}"


def test_writing_mends_stale_missing_and_left_over_pages(tmp_path: Path) -> None:
    folder = tmp_path / "passes"
    assert set(write(folder)) == set(expected())
    assert write(folder) == []
    (folder / "fold_constants.md").write_text("old", encoding="utf-8")
    (folder / "eliminate_identity.md").unlink()
    (folder / "swap_things.md").write_text("gone", encoding="utf-8")
    assert set(write(folder)) == {"fold_constants.md", "eliminate_identity.md", "swap_things.md"}
    assert found(folder) == expected()

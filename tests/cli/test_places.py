from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.cli.places import Job, Plan, plan_jobs
from graphopt.errors import FileError, UsageError
from tests.build import few


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(*names: str) -> None:
    """Files with these names; none is read."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())


def plan(
    *models: str, output: str | None = None, in_place: bool = False, dry_run: bool = False
) -> Plan:
    return plan_jobs([Path(m) for m in models], output, in_place=in_place, dry_run=dry_run)


def pairs(jobs: Iterable[Job]) -> list[tuple[str, str | None]]:
    return [(str(job.model), None if job.output is None else str(job.output)) for job in jobs]


def test_one_model_goes_to_a_file() -> None:
    put("a.onnx")
    found = plan("a.onnx", output="out")
    assert pairs(found.jobs) == [("a.onnx", "out")]
    assert not found.several
    assert not found.jobs[0].makes_folder


def test_one_model_goes_into_a_folder_that_is_there() -> None:
    put("x/a.onnx", "out/other")
    assert pairs(plan("x/a.onnx", output="out").jobs) == [("x/a.onnx", "out/a.onnx")]


def test_what_ends_with_a_slash_is_a_folder() -> None:
    put("x/a.onnx")
    found = plan("x/a.onnx", output="new/out/")
    assert pairs(found.jobs) == [("x/a.onnx", "new/out/a.onnx")]
    assert not found.several
    assert found.jobs[0].makes_folder


def test_several_models_go_into_a_folder_that_need_not_be_there() -> None:
    put("x/a.onnx", "b.model")
    found = plan("x/a.onnx", "b.model", output="new/out")
    assert pairs(found.jobs) == [("x/a.onnx", "new/out/a.onnx"), ("b.model", "new/out/b.model")]
    assert found.several
    assert all(job.makes_folder for job in found.jobs)
    assert not Path("new").exists()


def test_a_folder_keeps_its_structure() -> None:
    put("f/b.onnx", "f/a.ONNX", "f/sub/deep/a.onnx", "f/sub/notes.txt", "f/a.onnx.data")
    put("f/.venv/c.onnx", "f/sub/.hidden.onnx")
    found = plan("f", output="out")
    assert pairs(found.jobs) == [
        ("f/a.ONNX", "out/a.ONNX"),
        ("f/b.onnx", "out/b.onnx"),
        ("f/sub/deep/a.onnx", "out/sub/deep/a.onnx"),
    ]
    assert found.several


names = st.lists(st.sampled_from(["a", "b", "c.onnx", "d"]), min_size=1, max_size=3).map("/".join)


@given(st.sets(names, min_size=1))
@few
def test_every_model_of_a_folder_keeps_its_place(relative: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "in")
        for name in relative:
            put(str(root / f"{name}.onnx"))
        jobs = plan(str(root), output=str(Path(folder, "out"))).jobs
        places = {str(job.output.relative_to(Path(folder, "out"))) for job in jobs if job.output}
        assert places == {f"{name}.onnx" for name in relative}
        assert len(jobs) == len(relative)


def test_a_folder_with_one_model_is_still_a_folder() -> None:
    put("f/a.onnx")
    assert plan("f", output="out").several


def test_files_and_folders_together() -> None:
    put("f/a.onnx", "g/sub/b.onnx", "c.onnx")
    jobs = plan("c.onnx", "f", "g", output="out").jobs
    assert [str(job.output) for job in jobs] == ["out/c.onnx", "out/a.onnx", "out/sub/b.onnx"]


def test_in_place() -> None:
    put("a.onnx", "f/b.onnx")
    assert pairs(plan("a.onnx", "f", in_place=True).jobs) == [
        ("a.onnx", "a.onnx"),
        ("f/b.onnx", "f/b.onnx"),
    ]


@pytest.mark.parametrize("output", [None, "out"])
def test_dry_run_writes_nothing(output: str | None) -> None:
    put("a.onnx", "b.onnx")
    assert pairs(plan("a.onnx", "b.onnx", output=output, dry_run=True).jobs) == [
        ("a.onnx", None),
        ("b.onnx", None),
    ]


def test_models_that_are_not_there_are_found_out_when_they_are_read() -> None:
    put("a.onnx")
    jobs = plan("a.onnx", "none.onnx", output="out").jobs
    assert [str(job.model) for job in jobs] == ["a.onnx", "none.onnx"]


def test_the_output_folder_inside_is_no_input() -> None:
    put("f/a.onnx", "f/out/a.onnx", "f/out/sub/b.onnx")
    assert pairs(plan("f", output="f/out").jobs) == [("f/a.onnx", "f/out/a.onnx")]


def test_links_that_lead_out_are_passed_over() -> None:
    put("f/a.onnx", "outside/b.onnx")
    Path("f/b.onnx").symlink_to("../outside/b.onnx")
    Path("f/all").symlink_to("../outside")
    Path("f/loop.onnx").symlink_to("loop.onnx")
    found = plan("f", output="out")
    assert [str(job.model) for job in found.jobs] == ["f/a.onnx", "f/loop.onnx"]
    assert found.notes == ("f/b.onnx: passed over, a link that leads out of the folder",)


def test_a_folder_of_links_that_lead_out_holds_no_model() -> None:
    put("outside/b.onnx")
    Path("f").mkdir()
    Path("f/b.onnx").symlink_to("../outside/b.onnx")
    with pytest.raises(FileError, match=r"f: holds no \.onnx file"):
        plan("f", output="out")


def test_a_folder_may_be_a_link_itself() -> None:
    put("real/a.onnx")
    Path("f").symlink_to("real")
    assert pairs(plan("f", output="out").jobs) == [("f/a.onnx", "out/a.onnx")]


def test_links_inside_have_results_of_their_own_but_are_replaced_once() -> None:
    put("f/v2.onnx")
    Path("f/latest.onnx").symlink_to("v2.onnx")
    jobs = plan("f", output="out").jobs
    assert [str(job.output) for job in jobs] == ["out/latest.onnx", "out/v2.onnx"]
    assert pairs(plan("f", in_place=True).jobs) == [("f/v2.onnx", "f/v2.onnx")]


@pytest.mark.parametrize(
    ("models", "options", "words"),
    [
        (["a.onnx"], {}, "no output"),
        (["a.onnx"], {"output": "o", "in_place": True}, "exclude each other"),
        (["a.onnx"], {"output": "a.onnx"}, "the output is the input"),
        (["a.onnx"], {"output": "."}, "the output is the input"),
        (["a.onnx"], {"output": "hard.onnx"}, "the output is the input"),
        (["a.onnx"], {"output": "soft.onnx"}, "the output is the input"),
        (["f"], {"output": "f"}, "the output is the input"),
        (["f"], {"output": "."}, None),
        (["a.onnx", "f/b.onnx"], {"output": "f"}, "the output is the input"),
        (["a.onnx", "b.onnx"], {"output": "new.onnx"}, "several models need a folder"),
        (["a.onnx", "g/a.onnx"], {"output": "o"}, "would both be written to o/a.onnx"),
        (["a.onnx", "./a.onnx"], {"output": "o"}, "would both be written"),
        (["a.onnx", "./a.onnx"], {"in_place": True}, "would both be written"),
        (["f", "f"], {"output": "o"}, "would both be written"),
        (["f", "a.onnx"], {"in_place": True}, None),
    ],
)
def test_conflicts_are_found_before_anything_runs(
    models: list[str], options: dict[str, object], words: str | None
) -> None:
    put("a.onnx", "b.onnx", "f/b.onnx", "g/a.onnx")
    Path("soft.onnx").symlink_to("a.onnx")
    os.link("a.onnx", "hard.onnx")
    if words is None:
        plan(*models, **options)  # type: ignore[arg-type]
        return
    with pytest.raises(UsageError, match=words):
        plan(*models, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("models", "output", "words"),
    [
        (["empty"], "o", "empty: holds no .onnx file"),
        (["a.onnx", "empty"], "o", "empty: holds no .onnx file"),
        (["a.onnx", "b.onnx"], "file", "file: is no folder"),
        (["a.onnx"], "file/", "file: is no folder"),
    ],
)
def test_bad_places(models: list[str], output: str, words: str) -> None:
    put("a.onnx", "b.onnx", "empty/notes.txt", "file")
    with pytest.raises(FileError, match=words):
        plan(*models, output=output)


def test_a_folder_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    put("f/a.onnx", "f/closed/b.onnx")
    honest = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(FileError, match="f/closed: cannot be read: Permission denied"):
        plan("f", output="out")

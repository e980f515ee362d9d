from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.report.findings import Finding
from graphopt.runtime import doctor_distributions
from graphopt.runtime.doctor_distributions import (
    Difference,
    Installed,
    RecordedFile,
    difference,
    distribution_findings,
    installed_runtimes,
    is_compiled,
)
from tests.build import few
from tests.runtime.distributions import BINDING, FILES, GPU_FILES, install

INIT = "onnxruntime/__init__.py"


@pytest.fixture(autouse=True)
def gpu_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What graphopt asks for where onnxruntime-gpu has wheels, on any machine."""
    monkeypatch.setattr(doctor_distributions, "wanted_runtime", lambda: "onnxruntime-gpu")


def look(*sites: Path) -> list[Finding]:
    return distribution_findings(installed_runtimes([str(site) for site in sites]))


def levels(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(found.check, found.subject, found.level) for found in findings]


def test_one_distribution_is_fine(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", FILES)
    assert levels(look(tmp_path)) == [
        ("distributions", "onnxruntime", "ok"),
        ("files", "onnxruntime", "ok"),
    ]


def test_none_is_a_problem_with_the_way_out(tmp_path: Path) -> None:
    (found,) = look(tmp_path)
    assert (found.level, found.hint) == ("problem", "pip install onnxruntime-gpu")


@pytest.mark.parametrize("last", ["onnxruntime", "onnxruntime-gpu"])
def test_two_in_one_folder(tmp_path: Path, last: str) -> None:
    both = {"onnxruntime": FILES, "onnxruntime-gpu": GPU_FILES}
    for name in sorted(both, key=lambda name: name == last):
        install(tmp_path, name, both[name], "1.31.1")
    together, *files = look(tmp_path)
    assert together.level == "problem"
    assert "onnxruntime==1.31.1, onnxruntime-gpu==1.31.1 overwrite" in together.text
    assert together.text.endswith(f"those of {last} are in place")
    assert together.hint == (
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )
    assert {f.subject: f.level for f in files} == {
        name: "ok" if name == last else "problem" for name in both
    }
    assert not any(f.hint for f in files), "reinstalling one would only damage the other"


def test_the_build_for_a_device_is_kept(tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime-openvino"):
        install(tmp_path, name, FILES)
    assert look(tmp_path)[0].hint.endswith("&& pip install onnxruntime-openvino")


def test_same_name_twice(tmp_path: Path) -> None:
    for version in ("1.30.0", "1.31.0"):
        install(tmp_path, "onnxruntime", FILES, version)
    together = look(tmp_path)[0]
    assert together.level == "problem"
    assert together.hint == "pip uninstall -y onnxruntime && pip install onnxruntime"


def test_folders_that_hide_each_other(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    install(first, "onnxruntime-gpu", GPU_FILES)
    install(second, "onnxruntime", FILES)
    found = look(first, second, first)
    assert sorted(found_level for _, _, found_level in levels(found)) == ["ok"] * 4 + ["warning"]
    (hidden,) = [f for f in found if f.level == "warning"]
    assert hidden.subject == "onnxruntime"
    assert str(first) in hidden.text
    assert str(second) in hidden.text


def test_files_decide_before_names(tmp_path: Path) -> None:
    install(tmp_path, "acme-inference", FILES)
    install(tmp_path, "onnxruntime-genai", {"onnxruntime_genai/__init__.py": b""})
    # A plug-in that is named as a build once was, and no longer brings the package.
    install(tmp_path, "onnxruntime-qnn", {"onnxruntime_qnn/__init__.py": b""})
    assert [one.name for one in installed_runtimes([str(tmp_path)])] == ["acme-inference"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("onnxruntime", True), ("Onnxruntime_GPU", True), ("onnxruntime.directml", True),
        ("onnxruntime-training-cpu", True), ("ort-nightly", True), ("ort-gpu-nightly", True),
        ("ort-nightly-directml", True), ("onnxruntime-extensions", False), ("ort", False),
        ("onnxruntime-genai-cuda", False), ("onnxruntime-ep-webgpu", False),
        ("rapidocr-onnxruntime", False), ("ort-vision-sdk", False), ("ort-gpu", False),
    ],
)  # fmt: skip
def test_the_name_decides_without_a_list_of_files(tmp_path: Path, name: str, counts: bool) -> None:
    install(tmp_path, name, FILES, lists_files=False)
    found = installed_runtimes([str(tmp_path)])
    assert bool(found) is counts
    if counts:
        (files,) = [f for f in look(tmp_path) if f.check == "files"]
        assert files.level == "note"


def test_leavings_and_broken_metadata_are_passed_over(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", FILES)
    info = tmp_path / "onnxruntime-1.0.dist-info"
    leftover = tmp_path / "~nnxruntime-0.9.dist-info"
    leftover.mkdir()
    for file in info.iterdir():
        (leftover / file.name).write_bytes(file.read_bytes().replace(b"1.0", b"0.9"))
    (tmp_path / "onnxruntime_gpu-1.0.dist-info").mkdir()
    (tmp_path / "numpy-1.0.dist-info").mkdir()
    (tmp_path / "numpy-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00")
    assert [one.version for one in installed_runtimes([str(tmp_path)])] == ["1.0"]


def test_compiled_library_of_another_size_is_a_problem(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", FILES)
    (tmp_path / BINDING).write_bytes(b"\x7fELF of another build altogether")
    files = look(tmp_path)[1]
    assert (files.level, files.facts) == ("problem", {"missing": 0, "changed": 1})
    assert BINDING in files.text
    assert files.hint == "pip install --force-reinstall --no-deps onnxruntime==1.0"


def test_edited_source_of_the_same_size_is_a_warning(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", FILES)
    (tmp_path / INIT).write_bytes(FILES[INIT].replace(b"from", b"FROM"))
    files = look(tmp_path)[1]
    assert (files.level, files.facts) == ("warning", {"missing": 0, "changed": 1})


def test_missing_file_is_a_problem(tmp_path: Path) -> None:
    # As `pip uninstall onnxruntime` leaves onnxruntime-gpu.
    install(tmp_path, "onnxruntime-gpu", GPU_FILES)
    (tmp_path / INIT).unlink()
    files = look(tmp_path)[1]
    assert (files.level, files.facts) == ("problem", {"missing": 1, "changed": 0})
    assert f"1 missing ({INIT})" in files.text


@few
@given(
    states=st.dictionaries(
        st.from_regex(r"onnxruntime/[a-z]{1,8}\.(py|so|so\.1|txt)", fullmatch=True),
        st.sampled_from(["as it was", "longer", "gone"]),
        max_size=8,
    )
)
def test_difference_tells_exactly_what_was_done(
    tmp_path_factory: pytest.TempPathFactory, states: dict[str, str]
) -> None:
    site = tmp_path_factory.mktemp("site")
    install(site, "onnxruntime", {**FILES, **{path: path.encode() for path in states}})
    for path, state in states.items():
        if state == "gone":
            (site / path).unlink()
        elif state == "longer":
            (site / path).write_bytes(path.encode() + b"!")
    (installed,) = installed_runtimes([str(site)])
    found = difference(installed)
    assert set(found.missing) == {path for path, state in states.items() if state == "gone"}
    assert set(found.changed) == {path for path, state in states.items() if state == "longer"}
    order = [is_compiled(path) for path in found.changed]
    assert order == sorted(order, reverse=True), "compiled libraries come first"


def test_relocated_library_of_the_same_size_is_taken_as_it_is(tmp_path: Path) -> None:
    file = RecordedFile("onnxruntime/capi/lib.so.1.31", 4, "another digest")
    (tmp_path / "onnxruntime/capi").mkdir(parents=True)
    (tmp_path / file.path).write_bytes(b"1234")
    assert difference(Installed("x", "1", tmp_path, (file,))) == Difference((), ())

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from graphopt.engine.registry import available
from tests.cli.conftest import Run, heed_interrupts, is_error
from tests.engine.third_party import install, pass_source

HEAVY = ("onnx", "numpy", "onnxruntime", "onnx_graphsurgeon", "rich")


def graphopt(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graphopt", *arguments],
        capture_output=True, text=True, check=False, cwd=folder, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"]])
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = f"""
import atexit, json, sys
def tell():
    json.dump([name for name in {HEAVY} if name in sys.modules], sys.stderr)
atexit.register(tell)
sys.argv[1:] = {arguments}
from graphopt.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stderr) == []


def test_help_lists_commands_and_exit_codes(run: Run) -> None:
    done = run("--help")
    assert (done.code, done.err) == (0, "")
    for word in ("optimize", "inspect", "compare", "passes", "recipes", "Exit codes", "130"):
        assert word in done.out


@pytest.mark.parametrize("name", ["optimize", "inspect", "compare", "passes", "recipes"])
def test_help_of_each_command(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: graphopt {name}")


def test_version(run: Run) -> None:
    assert run("--version").out.strip() == f"graphopt, version {version('graphopt')}"


def test_no_command_shows_the_help_as_it_is(run: Run) -> None:
    done = run()
    text = done.out + done.err
    assert done.code in (0, 2)
    assert "\n  optimize " in text
    assert not any(line.startswith("graphopt: error: Usage") for line in text.splitlines())


def test_exit_codes_of_the_process(model: Path, unverifiable: Path) -> None:
    folder = model.parent
    for arguments, code in (
        (["optimize", "model.onnx", "-o", "out.onnx"], 0),
        (["optimize", "odd.onnx", "-o", "odd_out.onnx"], 1),
        (["optimize", "model.onnx", "-o", "out.onnx", "--recipe", "exakt"], 2),
        (["optimize", "none.onnx", "-o", "out.onnx"], 3),
    ):
        done = graphopt(*arguments, folder=folder)
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
    assert {p.name for p in folder.iterdir()} == {"model.onnx", "odd.onnx", "out.onnx"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing_behind(
    model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    # A pass of a third party that waits gives the interrupt a moment to arrive in.
    site = tmp_path / "site"
    source = pass_source("wait_long").replace(
        "return ()", "print('here', flush=True); import time; time.sleep(60); return ()"
    )
    install(site, "acme", "acme_passes", {"wait_long.py": source})
    process = subprocess.Popen(
        [sys.executable, "-m", "graphopt", "optimize", "model.onnx", "-o", "out.onnx",
         "--pass", "wait_long"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "TMPDIR": str(tmp_path)},
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert (out, [line for line in err.splitlines() if line]) == ("", ["graphopt: interrupted"])
    assert {p.name for p in tmp_path.iterdir()} == {"model.onnx", "site"}


def test_terminal_gets_colours_and_the_log_gets_none(model: Path) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "graphopt", "optimize", "model.onnx", "-o", "out.onnx"],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=model.parent,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait(timeout=20) == 0
    assert b"\x1b[32mverified" in shown
    assert b"verifying" in shown or b"starting" in shown
    assert b"\x1b" not in graphopt("inspect", "out.onnx", folder=model.parent).stdout.encode()


def test_reader_that_goes_away(model: Path) -> None:
    # As in `graphopt inspect model.onnx | head -1`.
    process = subprocess.Popen(
        [sys.executable, "-m", "graphopt", "recipes", "exact"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=model.parent,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=20) == 0


def test_python_m_is_the_command(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("graphopt")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == graphopt("--version", folder=tmp_path).stdout


def test_third_party_that_is_broken_is_one_line(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "acme", "acme_broken", {"swap_things.py": "import nothing_such"})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    available.cache_clear()
    try:
        done = run("optimize", model, "-o", "out.onnx", "--pass", "swap_things")
        assert is_error(done, 2, "swap_things", "acme", "nothing_such")
        assert run("optimize", model, "-o", "out.onnx").code == 0
    finally:
        available.cache_clear()

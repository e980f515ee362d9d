from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt.cli import cli
from graphopt.cli.console import guarded
from tests.build import parse

W = np.arange(12, dtype=np.float32).reshape(4, 3) / 7

MODEL = """g (float[N,4] x) => (float[N,3] y) {
    t = Identity(x)
    u = MatMul(t, w)
    y = Relu(u)
}"""


@dataclass(frozen=True)
class Done:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> list[str]:
        """The lines on standard error."""
        return self.err.splitlines()


Run = Callable[..., Done]


def heed_interrupts() -> None:
    """In a child before it starts: a shell's background jobs ignore SIGINT, and so would it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> Done:
        capfd.readouterr()
        code = guarded(cli, [str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return command


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model with something to do, named model.onnx in the folder the command runs in."""
    path = tmp_path / "model.onnx"
    onnx.save(parse(MODEL, w=W), path)
    return path


@pytest.fixture
def unverifiable(tmp_path: Path) -> Path:
    """A model that does not run on generated inputs: it takes 10,007 columns."""
    path = tmp_path / "odd.onnx"
    text = """g (float[1,L] x) => (float[1,M,K] y) {
        t = Identity(x)
        y = Reshape(t, shape)
    }"""
    onnx.save(parse(text, shape=np.array([1, -1, 10007])), path)
    return path


def node_ops(path: Path) -> list[str]:
    """The operators of a saved model."""
    return [node.op_type for node in onnx.load(path).graph.node]


def is_error(done: Done, code: int, *words: str) -> bool:
    """One error line, at most one hint, no traceback, nothing on stdout; all the words in it."""
    lines = done.complaint
    assert done.code == code, done
    assert done.out == ""
    assert 1 <= len(lines) <= 2, lines
    assert lines[0].startswith("graphopt: error: "), lines
    assert all(line.startswith("graphopt: hint: ") for line in lines[1:]), lines
    for word in words:
        assert word in done.err, done.err
    return True

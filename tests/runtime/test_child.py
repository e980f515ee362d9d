from __future__ import annotations

import atexit
import os
import sys
import time
from typing import Any

import pytest

from graphopt.runtime.child import Answer, ask

PATIENCE = 0.5


def give_back(*arguments: Any) -> list[Any]:
    return list(arguments)


def print_much() -> str:
    print("printed " * 2000)
    sys.stderr.write("complained")
    os.write(1, b"native noise")
    return "done"


def raise_error() -> None:
    raise ValueError("a reason\nof two lines")


def leave() -> None:
    sys.exit("gone")


def crash() -> None:
    os.write(2, b"the last words\n")
    os.abort()


def exit_early() -> None:
    os._exit(3)


def hang() -> None:
    os.write(2, b"waiting\n")
    time.sleep(60)


def crash_when_unloaded() -> str:
    atexit.register(os.abort)
    return "alive"


def read_input() -> str:
    return sys.stdin.read()


def test_result_comes_back() -> None:
    assert ask(give_back, 1, "é", [None, {"a": 2.5}]) == Answer(
        [1, "é", [None, {"a": 2.5}]], "", ""
    )


def test_noise_goes_to_the_log() -> None:
    answer = ask(print_much)
    assert (answer.value, answer.failure) == ("done", "")
    assert "native noise" in answer.log
    assert "complained" in answer.log


def test_exception_is_one_line() -> None:
    assert ask(raise_error).failure == "ValueError: a reason of two lines"
    assert ask(leave).failure == "SystemExit: gone"


def test_crash() -> None:
    answer = ask(crash)
    assert answer.value is None
    assert "died (SIGABRT)" in answer.failure or "exit code" in answer.failure
    assert "the last words" in answer.log
    assert ask(exit_early).failure == "the process ended early (exit code 3)"


def test_hang_ends_at_the_limit() -> None:
    answer = ask(hang, timeout=PATIENCE)
    assert answer.failure == f"took longer than {PATIENCE} s"


def test_crash_while_it_is_unloaded_is_no_finding() -> None:
    assert ask(crash_when_unloaded) == Answer("alive", "", "")


def test_nobody_waits_for_input() -> None:
    assert ask(read_input).value == ""


def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    answer = ask(give_back)
    assert answer.failure.startswith("no child process can be started")

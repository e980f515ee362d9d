"""Runs one function in a process of its own, with a time limit: it may crash, hang or exit.

Unlike `isolated.py`, nothing here is kept open: each question gets a fresh interpreter, because an
execution provider that failed once, or crashed, must not colour the next answer.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphopt.runtime.isolated import _QUIET

SECONDS = 120.0
"""Limit of one question: a GPU that compiles its kernels at first use takes a minute."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from graphopt.runtime.child import answer; answer(*sys.argv[2:])"
)
_MAX_LOG = 20_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        value: What the function returned (JSON types); None when it did not return.
        failure: Why it did not return, empty when it did.
        log: What it and the native code below it printed.
    """

    value: Any
    failure: str
    log: str


def ask(function: Callable[..., Any], *arguments: Any, timeout: float = SECONDS) -> Answer:
    """Call a function of a module in a child process.

    Args:
        function: A module's own function, which returns plain data (JSON types).
        arguments: Its arguments, plain data too.
        timeout: Seconds it may take.

    Returns:
        Its result, or the reason why there is none; never raises for what the child does.
    """
    what = [function.__module__, function.__name__, json.dumps(arguments)]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path), *what],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**_QUIET, **os.environ},
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Answer(None, f"took longer than {timeout:g} s", _text(error.stderr))
    except OSError as error:
        return Answer(None, f"no child process can be started: {error}", "")
    log = _text(done.stderr)
    try:
        reply = json.loads(done.stdout)
    except ValueError:
        return Answer(None, _death(done.returncode), log)
    return Answer(reply.get("value"), reply.get("error", ""), log)


def answer(module: str, name: str, arguments: str) -> None:
    """The child's side: call the function and write its result to standard output."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    sys.stdout = sys.stderr
    try:
        reply = {"value": getattr(importlib.import_module(module), name)(*json.loads(arguments))}
    except (Exception, SystemExit) as error:
        reply = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
    json.dump(reply, replies)
    replies.flush()
    sys.stderr.flush()
    os._exit(0)  # native libraries that crash while they are unloaded are no finding


def _death(code: int) -> str:
    if code >= 0:
        return f"the process ended early (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the process died ({name})"


def _text(printed: bytes | None) -> str:
    return (printed or b"")[-_MAX_LOG:].decode("utf-8", "replace")

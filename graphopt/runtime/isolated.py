"""Models run in a child process: crashes, hangs and leaks stay there."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from graphopt.contract import Array
from graphopt.errors import ProviderUnavailable, RuntimeFailure
from graphopt.runtime import wire

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from importlib import import_module; import_module(sys.argv[2]).main()"
)

# ONNX Runtime's builds report usage to their maker; models of others are nobody's business. Whoever
# wants that sets these variables.
_QUIET = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}

Level = Literal["off", "basic", "extended", "all"]
Backend = Literal["onnxruntime", "reference"]
_MODEL = wire.MODEL


@dataclass(frozen=True, slots=True)
class Session:
    """How to load a model.

    Attributes:
        path: The .onnx file.
        level: ONNX Runtime's own graph optimisations.
        providers: Execution providers, in order of preference.
        backend: `reference` runs onnx.reference, for what ONNX Runtime cannot load.
    """

    path: Path
    level: Level = "off"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    backend: Backend = "onnxruntime"


@dataclass(slots=True)
class Opened:
    """A loaded model: run it, then close it."""

    runtime: IsolatedRuntime
    number: int
    generation: int
    outputs: list[str]
    inputs: list[dict[str, Any]] = field(default_factory=list)

    def run(
        self,
        feeds: Mapping[str, Array],
        outputs: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Run once.

        Args:
            feeds: Input arrays by name.
            outputs: Names wanted; None for all.
            timeout: Seconds, when fewer than the runtime's own limit.

        Returns:
            Arrays by output name; lists of arrays for sequences, None for an empty optional.

        Raises:
            RuntimeFailure: The model failed on this input, crashed the process or took too long.
        """
        names = list(self.outputs if outputs is None else outputs)
        request = {"action": "run", "session": self.number, "outputs": names}
        return self.runtime.ask(request, feeds, "run", timeout, self.generation)[1]

    def close(self) -> None:
        """Free the model."""
        if self.generation == self.runtime.generation:
            with contextlib.suppress(RuntimeFailure):
                self.runtime.ask({"action": "close", "session": self.number}, {}, "run")


class IsolatedRuntime:
    """One child process, started when first needed and again after it died.

    Args:
        timeout: Seconds that one request may take.
        threads: Threads inside one operator.
        worker: The module whose `main` serves at the other end.
    """

    def __init__(
        self,
        timeout: float = 300.0,
        threads: int | None = None,
        worker: str = "graphopt.runtime.worker",
    ) -> None:
        self.timeout = timeout
        self.threads = threads or min(4, os.cpu_count() or 1)
        self.generation = 0
        self._worker = worker
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin the process, unless it runs: it loads its libraries while the caller goes on."""
        with self._lock:
            self._started()

    def open(self, session: Session) -> Opened:
        """Load a model.

        Raises:
            RuntimeFailure: It does not load, crashes the process or takes too long.
            ProviderUnavailable: The first execution provider is not to be had.
        """
        request = {
            "action": "open",
            "path": str(session.path),
            "level": session.level,
            "providers": list(session.providers),
            "threads": self.threads,
            "backend": session.backend,
        }
        header, _ = self.ask(request, {}, "load")
        number, outputs, inputs = header["session"], header["outputs"], header["inputs"]
        opened = Opened(self, number, self.generation, outputs, inputs)
        wanted = session.providers[0]
        if wanted not in header["providers"]:
            # ONNX Runtime logs the failure and runs on the CPU without a further word.
            opened.close()
            raise ProviderUnavailable(
                f"{wanted} cannot open a session here",
                hint="run it on a machine that has the device and its libraries",
            )
        return opened

    def run_once(
        self,
        model: bytes,
        feeds: Mapping[str, Array],
        outputs: Sequence[str],
        *,
        backend: Backend = "onnxruntime",
        max_bytes: int | None = None,
    ) -> dict[str, Any]:
        """Load a small model from memory, run it once, and forget it.

        Args:
            model: The model, serialised.
            feeds: Input arrays by name.
            outputs: Names wanted.
            backend: What runs it.
            max_bytes: Refuse to run when inference finds the outputs larger than so many bytes, or
                cannot tell the size of one that is not bounded by the operands.

        Raises:
            RuntimeFailure: See `open` and `Opened.run`.
        """
        request = {
            "action": "run_once",
            "level": "off",
            "providers": ["CPUExecutionProvider"],
            "threads": 1,
            "backend": backend,
            "outputs": list(outputs),
            "max_bytes": max_bytes,
        }
        return self.ask(request, {_MODEL: np.frombuffer(model, np.uint8), **feeds}, "run")[1]

    def ask_about(
        self, action: str, model: bytes, options: Mapping[str, Any], timeout: float
    ) -> bytes:
        """Ask onnx itself about a model without running it: `infer` or `check`.

        Returns:
            The answer's model, serialised; empty for `check`.

        Raises:
            RuntimeFailure: What onnx finds wrong, or the process died or took too long.
        """
        request = {"action": action, **options}
        arrays = {_MODEL: np.frombuffer(model, np.uint8)}
        answer = self.ask(request, arrays, "run", timeout)[1].get(_MODEL)
        return b"" if answer is None else bytes(answer.tobytes())  # type: ignore[union-attr]

    def ask(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, Any],
        kind: str,
        timeout: float | None = None,
        generation: int | None = None,
    ) -> wire.Message:
        """Send one request and wait for its answer.

        Raises:
            RuntimeFailure: With `kind` for what the runtime says, `crash`, or `timeout`.
        """
        with self._lock:
            process = self._started()
            if generation is not None and generation != self.generation:
                raise RuntimeFailure("its process died", kind="crash")
            assert process.stdin is not None
            assert process.stdout is not None
            expired = threading.Event()
            seconds = min(timeout or self.timeout, self.timeout)
            timer = threading.Timer(seconds, self._expire, (process, expired))
            timer.start()
            try:
                wire.send(process.stdin, header, arrays)  # type: ignore[arg-type]
                answer = wire.receive(process.stdout)  # type: ignore[arg-type]
            except BrokenPipeError:
                answer = None
            except BaseException:
                # An interrupt leaves the pipes half read: the process is of no more use.
                process.kill()
                raise
            finally:
                timer.cancel()
            if answer is None:
                raise self._death(process, seconds if expired.is_set() else None)
        if "error" in answer[0]:
            raise RuntimeFailure(answer[0]["error"], kind=kind)
        return answer

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.generation += 1
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path), self._worker],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**_QUIET, **os.environ},
            )
        return self._process

    @staticmethod
    def _expire(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
        expired.set()
        process.kill()

    def _death(self, process: subprocess.Popen[bytes], expired: float | None) -> RuntimeFailure:
        process.wait()
        self.generation += 1
        if expired is not None:
            return RuntimeFailure(f"took longer than {expired:g} s", kind="timeout")
        code = process.returncode
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return RuntimeFailure(f"the runtime process died ({name})", kind="crash")


_shared: IsolatedRuntime | None = None


def shared_runtime() -> IsolatedRuntime:
    """The one runtime process of this interpreter, ended when it exits."""
    global _shared
    if _shared is None:
        _shared = IsolatedRuntime()
        atexit.register(_shared.close)
    return _shared

"""One question about one model in a fresh process, which may crash or hang of it."""

from __future__ import annotations

import dataclasses
import importlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphopt.contract import Array
from graphopt.errors import ProviderUnavailable, RuntimeFailure
from graphopt.runtime import ort_values, wire, worker
from graphopt.runtime.child import ask
from graphopt.runtime.settings import CPU, SessionSettings, make_session

SECONDS = 600.0
"""Limit of one question."""


@dataclass(slots=True)
class Job:
    """The child's side: what to look at, and with what.

    Attributes:
        path: The .onnx file.
        settings: How to make its session.
        feeds: Input arrays by name.
        folder: Where files may be left; it goes when the parent has its answer.
        runs: How often to run.
        stage: What is going on, for the report of a failure: `load` or `run`.
    """

    path: str
    settings: SessionSettings
    feeds: dict[str, Any]
    folder: Path
    runs: int
    stage: str = "load"

    def open(self, profile_prefix: str | None = None) -> Any:
        """Create the session.

        Args:
            profile_prefix: Profile it, into a file of `folder` whose name begins so.

        Raises:
            ProviderUnavailable: ONNX Runtime left the provider out, and would run on the CPU.
            Exception: Whatever ONNX Runtime raises.
        """
        import onnxruntime as ort

        self.stage = "load"
        settings = self.settings
        if profile_prefix is not None:
            settings = dataclasses.replace(settings, profile_prefix=self.folder / profile_prefix)
        wanted = settings.provider.name
        if wanted == CPU:
            worker.limit_memory()  # a GPU's address space would not fit under it
        session = make_session(ort, self.path, settings)
        if wanted not in session.get_providers():
            raise ProviderUnavailable(f"{wanted} cannot open a session here")
        self.stage = "run"
        return session

    def run(self, session: Any) -> None:
        """Run it once, for all outputs.

        Raises:
            Exception: Whatever ONNX Runtime raises.
        """
        ort_values.run(session, [output.name for output in session.get_outputs()], self.feeds)


def ask_fresh(
    function: Callable[[Job], Any],
    path: Path,
    settings: SessionSettings,
    feeds: Mapping[str, Array],
    runs: int = 1,
    *,
    timeout: float = SECONDS,
) -> Any:
    """Call a module's own function in a fresh process that nothing ran in before.

    Args:
        function: Takes the job, and returns plain data (JSON types).
        path: The .onnx file.
        settings: How to make its session.
        feeds: Input arrays by name, of any type that ONNX knows.
        runs: How often to run.
        timeout: Seconds it may take.

    Returns:
        What the function returned.

    Raises:
        RuntimeFailure: The model does not load or run, crashed the process, or took too long.
        ProviderUnavailable: The execution provider is not to be had here.
    """
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        with (Path(folder) / "feeds").open("wb") as stream:
            wire.send(stream, {}, feeds)
        what = [function.__module__, function.__name__]
        answer = ask(
            work, *what, str(path), settings.to_header(), folder, runs, timeout=timeout
        )  # fmt: skip
    if answer.failure:
        kind = "timeout" if answer.failure.startswith("took longer") else "crash"
        raise RuntimeFailure(answer.failure, kind=kind, file=path)
    if "unavailable" in answer.value:
        raise ProviderUnavailable(
            answer.value["unavailable"],
            hint="graphopt doctor says what is missing; or run it where the device is",
        )
    if "error" in answer.value:
        raise RuntimeFailure(answer.value["error"], kind=answer.value["stage"], file=path)
    return answer.value["result"]


def work(
    module: str, name: str, path: str, settings: Mapping[str, Any], folder: str, runs: int
) -> dict[str, Any]:
    """The child's side of `ask_fresh`."""
    with (Path(folder) / "feeds").open("rb") as stream:
        message = wire.receive(stream)
    assert message is not None
    job = Job(path, SessionSettings.from_header(settings), message[1], Path(folder), runs)
    try:
        return {"result": getattr(importlib.import_module(module), name)(job)}
    except ProviderUnavailable as error:
        return {"unavailable": error.message}
    except Exception as error:  # ONNX Runtime raises classes of its own for each status code
        return {"error": f"{type(error).__name__}: {error}"[:2000], "stage": job.stage}

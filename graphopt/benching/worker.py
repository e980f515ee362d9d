"""The timing process: holds the models of one case and times blocks of calls in random order."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.benching.load import closed_loop, open_loop, poisson_arrivals
from graphopt.benching.loaded import Call, LoadedModel
from graphopt.contract import Array
from graphopt.runtime import wire, worker
from graphopt.runtime.settings import CPU, SessionSettings

Times = tuple[Array, Array, float, int]
"""Wall and processor seconds of each call of a block, busy share, and requests lost."""


class _Arms:
    """The models that are loaded, in the order they are numbered."""

    def __init__(self) -> None:
        self._models: list[LoadedModel] = []
        self._calls: list[Call] = []
        self._callers: dict[int, list[Call]] = {}

    def load(self, header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        """Load one more model; `sets` input sets travel as `<number>/<name>`."""
        import onnxruntime as ort

        settings = SessionSettings.from_header(header["settings"])
        if settings.provider.name == CPU:
            worker.limit_memory()  # a GPU's address space would not fit under it
        ort.set_default_logger_severity(4)
        feeds: list[dict[str, Any]] = [{} for _ in range(header["sets"])]
        for key, value in arrays.items():
            number, _, name = key.partition("/")
            feeds[int(number)][name] = value
        model = LoadedModel(ort, header["path"], settings, feeds, binding=header["binding"])
        self._models.append(model)
        self._calls.append(model.caller())
        answer = {
            "providers": model.session.get_providers(),
            "session_seconds": model.session_seconds,
            "first_run_seconds": model.first_run_seconds,
            "copy_seconds": model.copy_seconds,
        }
        return answer, {}

    def answers(self, header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        """What one model answers on one input set."""
        found = self._models[header["arm"]].answers(header["set"])
        if sum(getattr(value, "nbytes", 0) for value in found.values()) > worker.MAX_RESULT_BYTES:
            raise ValueError("results are too large to compare")
        return {}, found

    def warm(self, header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        """Run each model on each input set; answer with the seconds of each call."""
        seconds = [
            _timed(call, number)
            for _ in range(header["runs"])
            for number in range(header["sets"])
            for call in self._calls
        ]
        return {}, {"seconds": np.reshape(np.array(seconds), (-1, len(self._calls)))}

    def rounds(self, header: dict[str, Any], arrays: dict[str, Any]) -> wire.Message:
        """Time rounds; in each, every model has one block of calls, in an order drawn anew.

        Answers with `wall` and `cpu`, in seconds, [rounds, models, calls of a block].
        """
        rng = np.random.default_rng(header["seed"])
        count, block, arms = header["rounds"], header["block"], len(self._models)
        wall, cpu = np.empty((count, arms, block)), np.empty((count, arms, block))
        busy, lost = np.zeros((count, arms)), 0
        gc.collect()
        gc.disable()
        try:
            for index in range(count):
                measure = self._measure(header, index, int(rng.integers(2**31)))
                for arm in rng.permutation(arms):
                    wall[index, arm], cpu[index, arm], busy[index, arm], gone = measure(int(arm))
                    lost += gone
        finally:
            gc.enable()
        return {"lost": lost}, {"wall": wall, "cpu": cpu, "busy": busy}

    def _measure(self, header: dict[str, Any], index: int, seed: int) -> Callable[[int], Times]:
        """How to time one model's block in one round; all models of a round are treated alike."""
        number = (header["first"] + index) % header["sets"]
        block, callers, mode = header["block"], header["concurrency"], header["mode"]
        if mode == "alternating":
            return lambda arm: _block(self._calls[arm], number, block)
        arrivals = poisson_arrivals(header["rate"], block, seed) if mode == "open loop" else None

        def measured(arm: int) -> Times:
            call = _per_thread(self._callers_of(arm, callers), number)
            start = time.process_time()
            if arrivals is None:
                load = closed_loop(call, callers, requests=block)
            else:
                load = open_loop(call, arrivals, callers)
            cpu = (time.process_time() - start) / block
            share = load.busy / (load.elapsed * callers)
            return load.latency, np.full(block, cpu), share, load.lost

        return measured

    def _callers_of(self, arm: int, count: int) -> list[Call]:
        """Callers at once of one model, made before any clock starts: bound ones copy inputs."""
        if arm not in self._callers:
            self._callers[arm] = [self._models[arm].caller() for _ in range(count)]
        return self._callers[arm]


def _block(call: Call, number: int, size: int) -> Times:
    wall, cpu = np.empty(size), np.empty(size)
    clock, processor = time.perf_counter, time.process_time
    for index in range(size):
        used, start = processor(), clock()
        call(number)
        wall[index] = clock() - start
        cpu[index] = processor() - used
    return wall, cpu, 1.0, 0


def _timed(call: Call, number: int) -> float:
    start = time.perf_counter()
    call(number)
    return time.perf_counter() - start


def _per_thread(callers: Sequence[Call], number: int) -> Callable[[], None]:
    """One call without arguments, in which each thread uses a caller of its own."""
    own = threading.local()
    left = iter(callers)
    lock = threading.Lock()

    def call() -> None:
        if not hasattr(own, "call"):
            with lock:
                own.call = next(left)
        own.call(number)

    return call


def main() -> None:
    """Serve timing requests beside the runtime's own."""
    arms = _Arms()
    worker.main(
        {"load": arms.load, "warm": arms.warm, "rounds": arms.rounds, "answers": arms.answers}
    )

"""A model that is loaded for timing, in the process that may die of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.runtime import ort_values
from graphopt.runtime.settings import CPU, SessionSettings, make_session

Call = Callable[[int], None]
"""One run on the input set of that number."""

_GRAPH_CAPTURE = "enable_cuda_graph"
_DEVICES = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda"}


class LoadedModel:
    """A session and the inputs it is timed on.

    Args:
        ort: The package onnxruntime.
        path: The .onnx file.
        settings: How the session is made.
        feeds: Input sets: arrays by name.
        binding: Inputs and outputs lie bound on the device before the clock starts.

    Attributes:
        session: The onnxruntime.InferenceSession.
        session_seconds: What creating it took.
        first_run_seconds: What the first run took.
        copy_seconds: What it took to bring one input set to the device and the outputs back.
    """

    def __init__(
        self,
        ort: Any,
        path: str,
        settings: SessionSettings,
        feeds: Sequence[Mapping[str, Any]],
        *,
        binding: bool,
    ) -> None:
        start = time.perf_counter()
        self.session = make_session(ort, path, settings)
        self.session_seconds = time.perf_counter() - start
        self._ort = ort
        self.outputs = [output.name for output in self.session.get_outputs()]
        self._feeds = [{n: ort_values.fed(v) for n, v in one.items()} for one in feeds]
        self._raw = feeds
        self._device = _DEVICES.get(settings.provider.name, "cpu")
        self._device_id = int(settings.provider.options.get("device_id", 0))
        self._binding = binding or ort_values.lacking(self.session, self.outputs)
        self._fixed = settings.provider.options.get(_GRAPH_CAPTURE) == "1"
        self.copy_seconds: float | None = None
        call = self.caller()
        start = time.perf_counter()
        call(0)
        self.first_run_seconds = time.perf_counter() - start

    def caller(self) -> Call:
        """A function that runs the model once; each caller of several at once needs its own."""
        if self._binding:
            return self._bound_caller()
        run, names, feeds = self.session.run, self.outputs, self._feeds

        def call(number: int) -> None:
            run(names, feeds[number])

        return call

    def answers(self, number: int) -> dict[str, Any]:
        """The outputs on one input set, by name."""
        values = ort_values.run(self.session, self.outputs, dict(self._raw[number]))
        return dict(zip(self.outputs, values, strict=True))

    def _bound_caller(self) -> Call:
        bound = [(self._bound(n), self._options(n)) for n in range(len(self._feeds))]
        run = self.session.run_with_iobinding

        def call(number: int) -> None:
            binding, options = bound[number]
            run(binding, options)
            binding.synchronize_outputs()

        return call

    def _bound(self, number: int) -> Any:
        start = time.perf_counter()
        binding = self.session.io_binding()
        for name, value in self._feeds[number].items():
            binding.bind_ortvalue_input(name, self._placed(value))
        binding.synchronize_inputs()
        brought = time.perf_counter() - start
        for name in self.outputs:
            binding.bind_output(name, self._device, self._device_id)
        if self._fixed:
            self._fix_outputs(binding, self._options(number))
        if self.copy_seconds is None and self._device != "cpu":
            self.session.run_with_iobinding(binding, self._options(number))
            binding.synchronize_outputs()
            start = time.perf_counter()
            binding.copy_outputs_to_cpu()
            self.copy_seconds = brought + time.perf_counter() - start
        return binding

    def _placed(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        array = np.ascontiguousarray(value).reshape(value.shape)
        return self._ort.OrtValue.ortvalue_from_numpy(array, self._device, self._device_id)

    def _fix_outputs(self, binding: Any, options: Any) -> None:
        """Give every output an address that stays: a captured graph writes nowhere else."""
        self.session.run_with_iobinding(binding, options)
        for name, value in zip(self.outputs, binding.get_outputs(), strict=True):
            binding.bind_ortvalue_output(name, value)

    def _options(self, number: int) -> Any:
        """Options of a run; each input set has addresses, and so a captured graph, of its own."""
        if not self._fixed:
            return None
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number + 1))
        return options


def is_bound(settings: SessionSettings, wanted: bool | None) -> bool:
    """Whether to bind inputs and outputs: as wanted, else wherever copies would be timed."""
    return settings.provider.name != CPU if wanted is None else wanted

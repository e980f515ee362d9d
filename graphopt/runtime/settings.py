"""How a session is made: the one description that benchmarks, tuning and reports share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphopt.errors import UsageError
from graphopt.runtime.isolated import Level

ALIASES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""Short names of execution providers; any other name is ONNX Runtime's own."""

CPU, CUDA, OPENVINO = ALIASES["cpu"], ALIASES["cuda"], ALIASES["openvino"]

_SPINNING = "session.intra_op.allow_spinning"

_WRONG_PAIR = (
    "session.use_ort_model_bytes_directly",
    "session.use_ort_model_bytes_for_initializers",
)
"""Both at once gave wrong outputs on 4 of 5 models (ONNX Runtime 1.31)."""


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider.

    Attributes:
        name: ONNX Runtime's name for it.
        options: Its options, as ONNX Runtime takes them.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Everything that `onnxruntime.InferenceSession` is told, but the model.

    Attributes:
        provider: Where to run; what it cannot run falls to the CPU.
        level: ONNX Runtime's own graph optimisations.
        threads: Threads inside one operator; 0 is ONNX Runtime's default.
        spinning: Idle threads wait for work at full speed. Off unlike in ONNX Runtime, where
            sessions beside each other then take each other's processors.
        memory_pattern: Plan all tensors in one block where shapes allow it.
        arena: Keep freed memory for later.
        prepacking: Rearrange weights for the kernels when loading.
        config: Further session entries by key.
        record_placement: Let the session tell which provider got which node.
        profile_prefix: Write a profile to a file that begins so.
    """

    provider: Provider = field(default_factory=lambda: Provider(CPU))
    level: Level = "all"
    threads: int = 0
    spinning: bool = False
    memory_pattern: bool = True
    arena: bool = True
    prepacking: bool = True
    config: Mapping[str, str] = field(default_factory=dict)
    record_placement: bool = False
    profile_prefix: Path | None = None

    @property
    def spins(self) -> bool:
        """Whether idle threads keep a processor busy: as `config` says, if it does."""
        return self.config.get(_SPINNING, "1" if self.spinning else "0") == "1"

    def changed(self) -> dict[str, str]:
        """What differs from the defaults above, but for provider and threads, in words."""
        plain, default = dataclasses.asdict(self), dataclasses.asdict(SessionSettings())
        for name in ("provider", "threads", "config", "record_placement", "profile_prefix"):
            del plain[name]
        found = {name: str(value) for name, value in plain.items() if value != default[name]}
        return found | dict(self.config)

    def to_header(self) -> dict[str, Any]:
        """Plain data for the runtime process."""
        plain = dataclasses.asdict(self)
        plain["profile_prefix"] = None if self.profile_prefix is None else str(self.profile_prefix)
        return plain

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> SessionSettings:
        """What `to_header` described."""
        plain = dict(header)
        prefix = plain["profile_prefix"]
        plain["profile_prefix"] = None if prefix is None else Path(prefix)
        plain["provider"] = Provider(**plain["provider"])
        return cls(**plain)


def parse_provider(text: str) -> Provider:
    """Read `NAME[:key=value,...]`; NAME is an alias or ONNX Runtime's own name.

    Raises:
        UsageError: No name, or an option without a value.
    """
    name, _, rest = text.partition(":")
    if not name:
        raise UsageError(f"--provider {text!r} has no name", hint=f"one of: {', '.join(ALIASES)}")
    options = {}
    for part in filter(None, rest.split(",")):
        key, sign, value = part.partition("=")
        if not (key and sign):
            raise UsageError(
                f"--provider {text!r}: {part!r} is not key=value",
                hint="for example cuda:device_id=0,use_tf32=0",
            )
        options[key] = value
    return Provider(ALIASES.get(name.lower(), name), options)


def check_config(config: Mapping[str, str]) -> None:
    """Refuse session entries that are known to give wrong answers together.

    Raises:
        UsageError: They do.
    """
    if all(config.get(key) == "1" for key in _WRONG_PAIR):
        raise UsageError(
            f"{' and '.join(_WRONG_PAIR)} together give wrong answers", hint="leave one of them out"
        )


def make_session(ort: Any, path: str, settings: SessionSettings) -> Any:
    """Create the session, in the process that may die of it.

    Args:
        ort: The package onnxruntime.
        path: The .onnx file.
        settings: How.

    Raises:
        Exception: Whatever ONNX Runtime raises.
    """
    from graphopt.runtime.doctor_probe import preload
    from graphopt.runtime.worker import OPTIMIZATION_LEVELS

    if settings.provider.name != CPU:
        preload(ort)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    level = OPTIMIZATION_LEVELS[settings.level]
    options.graph_optimization_level = ort.GraphOptimizationLevel(level)
    options.intra_op_num_threads = settings.threads
    options.enable_mem_pattern = settings.memory_pattern
    options.enable_cpu_mem_arena = settings.arena
    entries = {_SPINNING: "1" if settings.spinning else "0"}
    if not settings.prepacking:
        entries["session.disable_prepacking"] = "1"
    if settings.record_placement:
        entries["session.record_ep_graph_assignment_info"] = "1"
    for key, value in (entries | dict(settings.config)).items():
        options.add_session_config_entry(key, value)
    if settings.profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(settings.profile_prefix)
    provider = (settings.provider.name, dict(settings.provider.options))
    return ort.InferenceSession(path, options, providers=[provider])

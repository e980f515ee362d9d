"""A tuned session as Python that runs as printed."""

from __future__ import annotations

import json
from pathlib import Path

from graphopt.benching.tuning_candidates import Candidate
from graphopt.report.bench_words import size
from graphopt.runtime.settings import ALIASES, CUDA

_LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}

_BOUND = '''
binding = session.io_binding()


def run(feeds):
    """Arrays by name in, a list of arrays out; bind once and keep, where inputs stay in place."""
    binding.clear_binding_inputs()
    for name, value in feeds.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value{device}))
    for output in session.get_outputs():
        binding.bind_output(output.name{device})
    session.run_with_iobinding(binding)
    return binding.copy_outputs_to_cpu()
'''


def snippet(path: Path, candidate: Candidate) -> str:
    """Python that makes the session; only what differs from ONNX Runtime's defaults is set.

    Args:
        path: The .onnx file.
        candidate: How to run it.
    """
    settings = candidate.settings
    lines = ["import onnxruntime", "", "options = onnxruntime.SessionOptions()"]
    if settings.level != "all":
        level = f"onnxruntime.GraphOptimizationLevel.{_LEVELS[settings.level]}"
        lines.append(f"options.graph_optimization_level = {level}")
    if settings.threads:
        lines.append(f"options.intra_op_num_threads = {settings.threads}")
    if not settings.memory_pattern:
        lines.append("options.enable_mem_pattern = False")
    if not settings.arena:
        lines.append("options.enable_cpu_mem_arena = False")
    entries = {} if settings.spins else {"session.intra_op.allow_spinning": "0"}
    if not settings.prepacking:
        entries["session.disable_prepacking"] = "1"
    for key, value in (entries | dict(settings.config)).items():
        lines.append(f"options.add_session_config_entry({_text(key)}, {_text(value)})")
    provider = settings.provider
    options = dict(sorted(provider.options.items()))
    named = f"({_text(provider.name)}, {options!r})" if options else _text(provider.name)
    lines += [
        "session = onnxruntime.InferenceSession(",
        f"    {_text(str(path))}, options, providers=[{named}]",
        ")",
    ]
    lines += _use(candidate)
    on_nvidia = provider.name in (CUDA, ALIASES["tensorrt"])
    text = "\n".join(lines) + "\n"
    if not candidate.binding:
        return text
    number = int(provider.options.get("device_id", "0"))
    return text + _BOUND.replace("{device}", f', "cuda", {number}' if on_nvidia else "")


def _use(candidate: Candidate) -> list[str]:
    """What no session option says, as comments."""
    lines = []
    if candidate.batch is not None:
        lines.append(f"# Give {size(candidate.batch, 'row')} in each call of session.run.")
    if candidate.concurrency > 1:
        lines.append(f"# Call session.run from {candidate.concurrency} threads at once.")
    return lines


def _text(value: str) -> str:
    """A string in double quotes, as Python reads it."""
    return json.dumps(value, ensure_ascii=False)

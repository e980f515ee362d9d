"""Saves models and dies on the way: `python -m tests.model.save_and_die FOLDER`.

FOLDER holds folders named by number. In each of them `in/model.onnx` is saved, with other weights,
to `out/model.onnx`, or over itself where there is no `out`. Every call that changes the disk and
every step of the protocol counts; at the call of the folder's number the process is killed. Prints
how many calls a process made that lived to the end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx import ModelProto

from graphopt.model import Model, SaveOptions, load_model, save_model, tensor_from_array

CHANGES = ("open", "fsync", "replace", "unlink", "chmod")


def main() -> None:
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        child = os.fork()
        if not child:
            save(folder, fatal=int(folder.name))
            os._exit(0)
        os.waitpid(child, 0)


def save(folder: Path, fatal: int) -> None:
    """Save, and die at call number `fatal`; 0 lives."""
    calls = 0

    def step(_: str) -> None:
        nonlocal calls
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(system: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            step("")
            return system(*args, **options)

        return call

    # A killed process loses nothing that the system has: waiting for the disk would be in vain.
    os.fsync = lambda fd: None
    source = load_model(folder / "in" / "model.onnx")
    target = folder / "out" if (folder / "out").is_dir() else folder / "in"
    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    threshold = 1 if source.has_external_data else None
    save_model(turned(source), target / "model.onnx", SaveOptions(threshold, step))
    print(calls, flush=True)


def turned(model: Model) -> Model:
    """The same model with every initializer turned round."""
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(tensor_from_array(model.tensor(tensor).array()[::-1], tensor.name))
    return model.with_proto(proto)


if __name__ == "__main__":
    main()

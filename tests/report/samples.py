"""A report with something in every field."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from graphopt.report import (
    Check,
    LeftOut,
    Loss,
    ModelStats,
    PassResult,
    Report,
    RequirementOutcome,
    StageReport,
    Verification,
)


def stats(**changes: Any) -> ModelStats:
    base = ModelStats(
        nodes=1234, constant_nodes=3, ops={"Conv": 20, "Relu": 19}, initializers=40,
        parameters=270_000, weight_bytes=1_080_000, file_bytes=1_100_000, macs=40_800_000,
        peak_activation_bytes=None, macs_at={"x": [1, 3, 32, 32]}, dtypes={"float32": 1_080_000},
        sparsity=0.125, opaque_nodes=0, functions=0, ir_version=8, opsets={"": 17},
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def verification(**changes: Any) -> Verification:
    base = Verification(
        "ok", "onnxruntime", 3, True,
        (
            Check("signature", "ok"),
            Check("y", "ok", "", 1e-6, 2e-6, 1e-4),
            Check("z|w", "failed", "differs by inf", 0.5, math.inf, 1e-4),
        ),
        (Loss("off", math.inf, 0.0, 1.0), Loss("all", 42.5, 0.01, None)),
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def report(**changes: Any) -> Report:
    stage = StageReport(
        2, True,
        (PassResult("fuse_conv_batchnorm", 19, {"conv output has 2 readers": 3, "odd": 1}, 0.5),),
        changes.pop("verification", verification()),
        (LeftOut("fuse_conv_batchnorm", "t7", "Conv c7", 0, "y: differs by 1"),),
    )  # fmt: skip
    base = Report(
        status="verified", changed=True, source="in.onnx", source_sha256="ab" * 32,
        output="out.onnx", recipe="exact", recipe_digest="cd" * 32, seed=7, before=stats(),
        after=stats(nodes=1000), stages=(stage,), warnings=("left out: one",),
        versions={"onnx": "1.19"}, seconds=1.25,
        requirements=(RequirementOutcome("nodes_ratio <= 0.9", "nodes_ratio", 0.81, True),),
    )  # fmt: skip
    return dataclasses.replace(base, **changes)

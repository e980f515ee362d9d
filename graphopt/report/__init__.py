"""The record of a run, and how it is shown: JSON, text, Markdown."""

from graphopt.report.record import (
    Check,
    LeftOut,
    Loss,
    ModelStats,
    PassResult,
    Report,
    RequirementOutcome,
    StageReport,
    Verification,
    schema,
)

__all__ = [
    "Check",
    "LeftOut",
    "Loss",
    "ModelStats",
    "PassResult",
    "Report",
    "RequirementOutcome",
    "StageReport",
    "Verification",
    "schema",
]

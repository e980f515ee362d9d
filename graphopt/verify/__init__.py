"""Proof that a result still gives the original's answers."""

from graphopt.verify.baseline import Baseline, Unusable
from graphopt.verify.inputs import InputSpec, input_specs, make_feeds
from graphopt.verify.structure import signature_changes
from graphopt.verify.verifier import Verifier, VerifyOptions

__all__ = [
    "Baseline",
    "InputSpec",
    "Unusable",
    "Verifier",
    "VerifyOptions",
    "input_specs",
    "make_feeds",
    "signature_changes",
]

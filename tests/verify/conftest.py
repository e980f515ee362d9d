from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from onnx import ModelProto

from graphopt.contract import Effect
from graphopt.graph import annotate, build_program, graph_view
from graphopt.model import Model
from graphopt.report import Verification
from graphopt.runtime import shared_runtime
from graphopt.verify import Verifier, VerifyOptions

MakeVerifier = Callable[..., Verifier]
Compare = Callable[..., Verification]


@pytest.fixture
def verifier() -> Iterator[MakeVerifier]:
    """Makes a Verifier of a model; keyword arguments are VerifyOptions."""
    with ExitStack() as stack:

        def make(original: ModelProto, **options: Any) -> Verifier:
            model = Model(original)
            program = build_program(model)
            annotate(program, original)
            view = graph_view(program.main, program)
            return stack.enter_context(
                Verifier(model, view, shared_runtime(), VerifyOptions(**options))
            )

        yield make


@pytest.fixture
def compare(verifier: MakeVerifier) -> Compare:
    """Compares two models under an effect, ROUNDING unless stated."""

    def run(
        original: ModelProto,
        candidate: ModelProto,
        effect: Effect = Effect.ROUNDING,
        **options: Any,
    ) -> Verification:
        return verifier(original, **options).check(Model(candidate), effect)

    return run

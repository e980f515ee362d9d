"""Cutting a piece out of a model, proven against the whole."""

from __future__ import annotations

import time
from collections.abc import Sequence

from graphopt.engine.changing import (
    SWITCHED_OFF,
    ChangeResult,
    ProofOptions,
    change_report,
    described,
    hints,
    loaded_at_least,
)
from graphopt.errors import ModelError
from graphopt.graph.extract import borders_without_rank, extract, with_ranks
from graphopt.model import Model
from graphopt.runtime import shared_runtime
from graphopt.verify.extracted import measured_ranks, prove_piece


def extract_model(
    model: Model,
    inputs: Sequence[str] | None,
    outputs: Sequence[str],
    options: ProofOptions | None = None,
) -> ChangeResult:
    """Cut out the part of a model that computes `outputs` from `inputs`, and prove it.

    Args:
        model: The model; it is not changed.
        inputs: Tensors to start from; None starts from the model's inputs that are needed.
        outputs: Tensors to compute.
        options: How to prove it; data and shapes are those of the whole model's inputs.

    Raises:
        UsageError: A name cannot be used so; see graph.extract.
        ModelError: The type of a tensor at the border is not known, or its rank is not, and the
            model does not run to tell it.
        DataError: The data does not fit the model.
    """
    options = options or ProofOptions()
    started = time.perf_counter()
    options.progress("cutting out the piece")
    piece = extract(model, inputs, outputs)
    proof = options.for_model(model.proto)
    unranked = borders_without_rank(piece)
    if unranked:
        options.progress("measuring ranks")
        ranks = measured_ranks(model, unranked, hints(model), shared_runtime(), proof)
        missing = next((name for name in unranked if name not in ranks), None)
        if missing is not None:
            raise ModelError(
                f"the rank of {missing!r} is not known, and no run of the model tells it",
                file=model.path,
            )
        piece = with_ranks(piece, ranks)
    if options.verify:
        options.progress("comparing the piece with the whole")
        found = prove_piece(model, piece, hints(model), shared_runtime(), proof)
    else:
        found = SWITCHED_OFF
    found = loaded_at_least(found, model, piece, options)
    changes = _changes(model, piece)
    return ChangeResult(
        piece, change_report("extract", model, piece, changes, found, options.seed, started)
    )


def _changes(model: Model, piece: Model) -> list[str]:
    graph, whole = piece.proto.graph, model.proto.graph
    return [
        f"inputs: {', '.join(map(described, graph.input)) or 'none'}",
        f"outputs: {', '.join(map(described, graph.output))}",
        f"{len(graph.node):,} of {len(whole.node):,} nodes, "
        f"{piece.weight_bytes:,} of {model.weight_bytes:,} bytes of weights",
    ]

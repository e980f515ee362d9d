"""Provenance: where a result comes from, written into the model's own metadata."""

from __future__ import annotations

from onnx import ModelProto

from graphopt.model.carrier import Model
from graphopt.report import Report

PREFIX = "graphopt."
"""Metadata keys under it are graphopt's own."""


def with_provenance(model: Model, report: Report) -> Model:
    """The model with its provenance in `metadata_props`; nothing else of it changes.

    Written are `graphopt.version`, `graphopt.recipe`, `graphopt.recipe_digest` and
    `graphopt.source_sha256`, those of them that are known. They take the place of every former
    entry under `graphopt.`; other metadata stays, in its order. The same report gives the same
    bytes, whenever and wherever it is written.

    Args:
        model: The result; it is not changed.
        report: The run that made it.
    """
    proto = ModelProto()
    proto.CopyFrom(model.proto)
    entries = proto.metadata_props
    for index in reversed(range(len(entries))):
        if _encoded(entries[index].key).startswith(PREFIX.encode()):
            del entries[index]
    known = {
        "version": report.versions.get("graphopt"),
        "recipe": report.recipe,
        "recipe_digest": report.recipe_digest,
        "source_sha256": report.source_sha256,
    }
    for key, value in known.items():
        if value is not None:
            entries.add(key=PREFIX + key, value=_encoded(value).decode())
    return model.with_proto(proto)


def _encoded(text: str | bytes) -> bytes:
    """The text's bytes; what is no UTF-8 protobuf hands out as bytes, and file names escape."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")

"""The carrier: an ONNX model as it was read, with its bytes on demand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from onnx import ModelProto, TensorProto

from graphopt.model.external import ExternalFiles
from graphopt.model.nodes import plain_domain
from graphopt.model.tensor import TensorData
from graphopt.model.tensors import model_tensors


@dataclass(frozen=True)
class Source:
    """The file a model was read from, and the SHA-256 of its bytes at that moment."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Model:
    """An ONNX model: its protobuf, and the files its external data lies in.

    Attributes:
        proto: The model. Treat it as read-only; graphopt makes a new one for every result.
        source: The file it was read from; None for a result or a model given in memory.
        files: Where external tensors are read from.
    """

    proto: ModelProto
    source: Source | None = None
    files: ExternalFiles | None = field(default=None, repr=False)

    @property
    def path(self) -> Path | None:
        """The file it was read from, if any."""
        return self.source.path if self.source else None

    @cached_property
    def opsets(self) -> dict[str, int]:
        """Imported opset version by domain; the standard domain is the empty string."""
        return {plain_domain(entry.domain): entry.version for entry in self.proto.opset_import}

    def tensor(self, proto: TensorProto) -> TensorData:
        """The bytes of one of this model's stored tensors, read on demand."""
        return TensorData(proto, self.files)

    @cached_property
    def has_external_data(self) -> bool:
        """True when at least one tensor lies in another file."""
        return any(t.data_location == TensorProto.EXTERNAL for t in model_tensors(self.proto))

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all stored tensors, external ones included."""
        return sum(self.tensor(t).nbytes for t in model_tensors(self.proto))

    @cached_property
    def file_bytes(self) -> int:
        """Bytes on disk: the .onnx file and what its external tensors take."""
        external = sum(
            self.tensor(t).nbytes
            for t in model_tensors(self.proto)
            if t.data_location == TensorProto.EXTERNAL
        )
        return int(self.proto.ByteSize()) + external

    def with_proto(self, proto: ModelProto) -> Model:
        """A result made from this model: new protobuf, same external files."""
        return Model(proto=proto, files=self.files)

    def to_bytes(self) -> bytes:
        """Serialise deterministically (external tensors stay references).

        A model that was not changed since it was read gives back its file's own bytes.
        """
        if self.source is not None:
            own = self.source.path.read_bytes() if self.source.path.is_file() else b""
            if hashlib.sha256(own).hexdigest() == self.source.sha256:
                return own
        return bytes(self.proto.SerializeToString(deterministic=True))

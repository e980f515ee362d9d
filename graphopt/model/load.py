"""Reading a model: a path, a ModelProto or bytes in, one clear line out when it is not a model."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from graphopt.errors import FileError, GraphoptError, ModelError
from graphopt.model.carrier import Model, Source
from graphopt.model.external import ExternalFiles
from graphopt.model.names import model_names
from graphopt.model.tensors import model_tensors

PROTOBUF_LIMIT = (1 << 31) - 1
"""Bytes that one protobuf message may have."""


def load_model(
    source: str | Path | bytes | ModelProto, *, external_data_root: Path | None = None
) -> Model:
    """Read a model; weights stay where they are until something asks for them.

    Args:
        source: A path, the bytes of a file, or a ModelProto (its external data, if any, cannot be
            found then).
        external_data_root: Links among the external data are followed inside this folder only.

    Raises:
        FileError: The file is missing or cannot be read.
        ModelError: It is not an ONNX model, or its external data is not where and what it says.
    """
    if isinstance(source, ModelProto):
        _check_proto(source, None)
        return Model(proto=source)
    if isinstance(source, bytes):
        return Model(proto=_parse(source, None))
    path = Path(source)
    content = _read(path)
    proto = _parse(content, path)
    model = Model(
        proto=proto,
        source=Source(path, hashlib.sha256(content).hexdigest()),
        files=ExternalFiles(path.parent, path, external_data_root),
    )
    _check_tensors(model)
    return model


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileError("is a folder, not a file", file=path, hint="name the .onnx file in it")
        if not stat.S_ISREG(status.st_mode):
            raise FileError("is not a regular file", file=path)
        if status.st_size > PROTOBUF_LIMIT:
            raise FileError(
                f"has {status.st_size} bytes; a protobuf file holds 2 GiB at most",
                file=path,
                hint="export it with external data (save_as_external_data=True)",
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileError("no such file", file=path) from error
    except OSError as error:
        raise FileError(error.strerror or str(error), file=path) from error


def _parse(content: bytes, path: Path | None) -> ModelProto:
    if not content:
        raise ModelError("is empty", file=path)
    try:
        proto = ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelError(
            "is not an ONNX model, or is damaged (protobuf does not parse)",
            file=path,
            hint="check that the download or copy is complete",
        ) from error
    _check_proto(proto, path)
    return proto


def _check_proto(proto: ModelProto, path: Path | None) -> None:
    _check_header(proto, path)
    _check_names(proto, path)


def _check_header(proto: ModelProto, path: Path | None) -> None:
    problem = None
    if not proto.HasField("graph"):
        problem = "has no graph"
    elif not proto.HasField("ir_version"):
        problem = "states no IR version"
    elif not proto.opset_import:
        problem = "imports no opset"
    if problem:
        raise ModelError(
            f"is not a whole ONNX model: it {problem}",
            file=path,
            hint="check that the download or copy is complete",
        )


def _check_names(proto: ModelProto, path: Path | None) -> None:
    """Names must be text: where protobuf could not decode one it hands out bytes."""
    wrong = next((name for name in model_names(proto) if isinstance(name, bytes)), None)
    if wrong is not None:
        raise ModelError(
            f"is damaged: the name {wrong[:40]!r} is not UTF-8",
            file=path,
            hint="check that the download or copy is complete",
        )


def _check_tensors(model: Model) -> None:
    for proto in model_tensors(model.proto):
        if proto.data_location != TensorProto.EXTERNAL:
            continue
        tensor = model.tensor(proto)
        try:
            tensor.check()
        except GraphoptError as error:
            error.file = error.file or str(model.path)
            raise

"""Taking external weights into the model's own file."""

from __future__ import annotations

from onnx import ModelProto, TensorProto

from graphopt.errors import ModelError
from graphopt.model.carrier import Model
from graphopt.model.load import PROTOBUF_LIMIT
from graphopt.model.tensors import model_tensors


def embed(model: Model, below: int | None = None) -> Model:
    """A model whose external tensors lie inside it; their bytes are read.

    Args:
        model: The model.
        below: Only tensors of fewer bytes than this are taken in; None takes them all.

    Returns:
        The very model given when there is nothing to take in.

    Raises:
        ModelError: They do not fit into one protobuf file.
        ExternalDataError: They cannot be read.
    """
    outside = {
        index: model.tensor(proto).nbytes
        for index, proto in enumerate(model_tensors(model.proto))
        if proto.data_location == TensorProto.EXTERNAL
    }
    chosen = {i: size for i, size in outside.items() if below is None or size < below}
    if not chosen:
        return model
    total = model.proto.ByteSize() + sum(chosen.values())
    if total > PROTOBUF_LIMIT:
        raise ModelError(
            f"its weights do not fit inside: {total} bytes, a protobuf file holds 2 GiB",
            file=model.path,
            hint="leave large ones outside: --external-data 1M",
        )
    result = ModelProto()
    result.CopyFrom(model.proto)
    for index, tensor in enumerate(model_tensors(result)):
        if index in chosen:
            content = b"".join(map(bytes, model.tensor(tensor).blocks()))
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = content
    return model.with_proto(result)

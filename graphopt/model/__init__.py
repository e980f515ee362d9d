"""The only place that reads or writes .onnx files: load, save, external data, digests."""

from graphopt.model.carrier import Model
from graphopt.model.load import load_model
from graphopt.model.save import SaveOptions, save_model
from graphopt.model.tensor import TensorData, tensor_from_array

__all__ = [
    "Model",
    "SaveOptions",
    "TensorData",
    "load_model",
    "save_model",
    "tensor_from_array",
]

"""graphopt: a smaller, faster ONNX model that still gives the same answers."""

"""ONNX Runtime, in a process of its own: a crash there is a finding here."""

from graphopt.runtime.evaluate import NodeEvaluator
from graphopt.runtime.isolated import IsolatedRuntime, Opened, Session, shared_runtime

__all__ = ["IsolatedRuntime", "NodeEvaluator", "Opened", "Session", "shared_runtime"]

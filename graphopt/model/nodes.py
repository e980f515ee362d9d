"""What a node message says of itself: its domain, its bodies, and the values it reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import GraphProto, NodeProto

STANDARD_DOMAINS = ("", "ai.onnx")


def plain_domain(domain: str) -> str:
    """The domain under its one name: the standard one is the empty string."""
    return "" if domain in STANDARD_DOMAINS else domain


def nodes_within(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes, each followed by those of its bodies."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_within(attribute.g.node)
            for body in attribute.graphs:
                yield from nodes_within(body.node)


def free_reads(node: NodeProto) -> list[str]:
    """What a node reads from around it: its inputs, and what its bodies capture."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.HasField("g"):
            names += _captured(attribute.g)
    return names


def _captured(body: GraphProto) -> list[str]:
    own = {info.name for info in body.input} | {tensor.name for tensor in body.initializer}
    own |= {name for node in body.node for name in node.output}
    read = [name for node in body.node for name in free_reads(node)]
    read += [info.name for info in body.output]
    return [name for name in read if name not in own]

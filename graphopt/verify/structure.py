"""Structure: the signature, the checker, strict inference, and the graph's own rules."""

from __future__ import annotations

import re

from onnx import ModelProto, ValueInfoProto

from graphopt.graph.skeleton import skeleton
from graphopt.report import Check
from graphopt.runtime.inference import checker_finding, inference_finding


def signature_changes(before: ModelProto, after: ModelProto) -> list[str]:
    """How the inputs and outputs differ: names, order, types; empty when they are the same."""
    changes = []
    for side in ("input", "output"):
        old = [_described(info) for info in getattr(before.graph, side)]
        new = [_described(info) for info in getattr(after.graph, side)]
        if old != new:
            changed = [name for name, _ in old if (name, _) not in new] or [n for n, _ in new]
            changes.append(f"{side}s changed: {', '.join(changed[:5])}")
    defaults = {t.name for t in before.graph.initializer} & {i.name for i in before.graph.input}
    kept = {t.name for t in after.graph.initializer}
    changes += [f"input {name} lost its default" for name in sorted(defaults - kept)]
    return changes


def _described(info: ValueInfoProto) -> tuple[str, bytes]:
    return info.name, info.type.SerializeToString(deterministic=True)


def check_structure(before: ModelProto, after: ModelProto) -> list[Check]:
    """Check what must hold of a result whatever its numbers are.

    The checker and strict inference run over weightless copies and may find in the result only
    what they find in the original.
    """
    changes = signature_changes(before, after)
    rows = [Check("signature", "failed" if changes else "ok", "; ".join(changes))]
    light = skeleton(after, declared=True)
    for name, found in (("checker", checker_finding), ("inference", inference_finding)):
        new = found(light)
        fresh = bool(new) and _kind(new) != _kind(found(skeleton(before, declared=True)))
        rows.append(Check(name, "failed" if fresh else "ok", new if fresh else ""))
    return rows


def _kind(finding: str) -> str:
    """A finding without the names in it: the tools stop at the first node they dislike."""
    return re.sub(r"\([^()]*\)|'[^']*'|\"[^\"]*\"", "", finding.split("==> Context")[0])

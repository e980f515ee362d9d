from __future__ import annotations

import dataclasses
import json
from typing import Any

from graphopt.report import Check, Verification
from graphopt.report.change import CHANGE_SCHEMA_VERSION, ChangeReport, render_change
from graphopt.report.files import json_text
from graphopt.report.text import plain

VERIFICATION = Verification("ok", "onnxruntime", 3, checks=(Check("y", "ok", max_rel=0.0),))


def report(**changed: Any) -> ChangeReport:
    made = ChangeReport(
        action="convert", status="verified", changed=True, source="model.onnx", source_sha256="ab",
        output="out.onnx", seed=0, changes=("opset 11 -> 17",), inputs=("x float32[N]",),
        outputs=("y float32[N]",), verification=VERIFICATION, seconds=0.5,
    )  # fmt: skip
    return dataclasses.replace(made, **changed)


def lines(made: ChangeReport, *, verbose: bool = False) -> list[str]:
    return plain(render_change(made, verbose=verbose)).splitlines()


def test_status_changes_and_proof_in_a_few_lines() -> None:
    assert lines(report()) == [
        "model.onnx: verified -> out.onnx",
        "  opset 11 -> 17",
        "verification: ok, 3 generated input sets, onnxruntime",
    ]
    assert lines(report(), verbose=True)[-1].startswith("  y: ok max relative difference 0")


def test_what_is_not_verified_is_written_large() -> None:
    failed = Verification("failed", "onnxruntime", 3, checks=(Check("y", "failed", "differs"),))
    first, *_, last = lines(report(status="failed", output=None, verification=failed))
    assert (first, last) == ("model.onnx: FAILED", "  y: failed differs")
    assert lines(report(status="unverified"))[0] == "model.onnx: UNVERIFIED -> out.onnx"


def test_nothing_changed_is_said() -> None:
    found = lines(report(changed=False, changes=(), source=None))
    assert found[:2] == [
        "model: verified -> out.onnx", "  nothing to change: the model is as asked for",
    ]  # fmt: skip


def test_names_cannot_forge_lines() -> None:
    found = lines(report(changes=("input x\nverification: ok \x1b[31m",)))
    assert len(found) == 3
    assert "\x1b" not in "".join(found)


def test_json_has_every_field_and_a_version() -> None:
    data = json.loads(json_text(report().to_dict()))
    assert data["schema"] == CHANGE_SCHEMA_VERSION == 1
    assert data["changes"] == ["opset 11 -> 17"]
    assert data["verification"]["checks"][0]["what"] == "y"
    assert data.keys() == {field.name for field in dataclasses.fields(ChangeReport)}

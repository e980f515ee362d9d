"""What speaks against writing a result, decided on its report."""

from __future__ import annotations

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from graphopt.cli.optimizing import Request, judgement_of, refusal_of, understand
from graphopt.errors import FileError, UsageError
from graphopt.report import LeftOut, PassResult, Report, RequirementOutcome
from graphopt.report.junit import to_junit
from tests.report.samples import report, verification

UNMET = RequirementOutcome("nodes_ratio <= 0.9", "nodes_ratio", 0.95, False)
UNKNOWN = RequirementOutcome("snr_db >= 40", "snr_db", None, None, "never compared")
MET = RequirementOutcome("size_ratio < 1", "size_ratio", 0.5, True)
IDLE = PassResult("quantize_weights", 0, {"too small": 3, "shared": 5}, 0.1, "lossy")
LEFT_OUT = LeftOut("fuse", "t", "Conv c", 0, "differs")


def request(**changes: Any) -> Request:
    base = Request(
        models=(Path("m.onnx"),), output="o.onnx", recipe=None, passes=(), exclude_nodes=(),
        keep_outputs=(), data=None, input_shapes=(), seed=0, external_data_root=None,
        requirements=(), require_change=False, provenance=False, reports=(), json=False,
        quiet=False, verbose=False, verify=True, verify_limit=2.0, allow_unverified=False,
        strict=False, in_place=False, dry_run=False, target="cpu", opset=None,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def done(status: str = "ok", **changes: Any) -> Report:
    """A report of one stage; its lossy passes, rewrites left out and changes as stated."""
    words = {"ok": "verified", "failed": "failed", "not verified": "unverified"}
    checks = tuple(row for row in verification().checks if row.status == "ok")
    stage = dataclasses.replace(
        report().stages[0],
        verification=verification(status=status, checks=checks, note=status),
        left_out=changes.pop("left_out", ()),
        passes=changes.pop("passes", report().stages[0].passes),
    )
    return report(status=words[status], stages=(stage,), **changes)


CASES: list[tuple[dict[str, Any], Report, str | None]] = [
    ({}, done(), None),
    ({}, done("failed"), "failed verification"),
    ({"allow_unverified": True, "verify": False}, done("failed"), "failed verification"),
    ({}, done("not verified"), "unverified"),
    ({"allow_unverified": True}, done("not verified"), None),
    ({"verify": False}, done("not verified"), None),
    ({}, done(left_out=(LEFT_OUT,)), None),
    ({"strict": True}, done(left_out=(LEFT_OUT,)), "1 rewrites were left out"),
    ({}, done(changed=False), None),
    ({"require_change": True}, done(changed=False), "nothing was changed"),
    ({"require_change": True}, done(), None),
    ({}, done(passes=(IDLE,)), None),
    (
        {"require_change": True},
        done(passes=(IDLE,)),
        "quantize_weights changed nothing: 5 x shared; 3 x too small",
    ),
    ({}, done(requirements=(MET,)), None),
    (
        {"verify": False},
        done("not verified", requirements=(MET, UNMET)),
        "requirement 'nodes_ratio <= 0.9' is not met: nodes_ratio is 0.95",
    ),
    (
        {},
        done(requirements=(UNMET, UNKNOWN)),
        "requirement 'nodes_ratio <= 0.9' is not met: nodes_ratio is 0.95; "
        "requirement 'snr_db >= 40' cannot be measured: never compared",
    ),
    ({}, done("failed", requirements=(UNMET,)), "failed verification"),
]


@pytest.mark.parametrize(("options", "found", "reason"), CASES)
def test_refusal(options: dict[str, Any], found: Report, reason: str | None) -> None:
    refusal = refusal_of(request(**options), found)
    assert (None if refusal is None else refusal.reason) == reason


@pytest.mark.parametrize("found", [case[1] for case in CASES])
def test_junit_fails_where_the_command_does(found: Report) -> None:
    names = ("verify", "allow_unverified", "strict", "require_change")
    for flags in product([False, True], repeat=len(names)):
        asked = request(**dict(zip(names, flags, strict=True)))
        suite = JUnitXml.fromstring(to_junit([found], judgement_of(asked)).encode())
        assert bool(suite.failures) == (refusal_of(asked, found) is not None), asked


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"recipe": "exakt"}, UsageError, "exakt"),
        ({"recipe": "none.toml"}, FileError, "none.toml"),
        ({"passes": ("fold",)}, UsageError, "fold"),
        ({"opset": "new"}, UsageError, "--opset"),
        ({"input_shapes": ("x",)}, UsageError, "NAME:d,d"),
        ({"requirements": ("nodes <= 1",)}, UsageError, "no metric"),
        ({"requirements": ("latency_ratio <= 1",)}, UsageError, "does not measure"),
    ],
)
def test_mistakes_show_before_any_model_is_read(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        understand(request(**options))


def test_settings() -> None:
    asked = request(
        seed=3, input_shapes=("x:1,2",), verify_limit=0.5, opset="auto", keep_outputs=("y",),
        exclude_nodes=("c*",), provenance=True, target="cuda", requirements=("snr_db >= 40",),
    )  # fmt: skip
    settings = understand(asked)
    options = settings.options
    assert settings.recipe.name == "exact"
    assert (options.seed, options.shapes, options.verify_limit) == (3, {"x": (1, 2)}, 1 << 29)
    assert (options.opset, options.target.provider, options.provenance) == ("auto", "cuda", True)
    assert (options.keep_outputs, options.exclude_nodes) == (("y",), ("c*",))
    assert [requirement.text for requirement in options.requirements] == ["snr_db >= 40"]
    assert understand(request()).options.keep_outputs is None

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from graphopt.report import Check, Report, RequirementOutcome
from graphopt.report.record import SCHEMA_VERSION
from tests.report.samples import report, stats, verification


def rebuilt(kind: Any, value: Any) -> Any:
    """A dataclass out of plain data, by its annotations alone."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        present = [a for a in arguments if a is not type(None)]
        return None if value is None else rebuilt(present[0], value)
    if origin is tuple:
        return tuple(rebuilt(arguments[0], item) for item in value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        assert set(value) == {field.name for field in dataclasses.fields(kind)}
        return kind(**{name: rebuilt(hints[name], item) for name, item in value.items()})
    return value


def test_plain_data_holds_every_field() -> None:
    whole = report()
    assert rebuilt(Report, whole.to_dict()) == whole


def test_schema_is_stated() -> None:
    assert report().to_dict()["schema"] == SCHEMA_VERSION


def test_left_out_over_all_stages() -> None:
    one = report()
    twice = dataclasses.replace(one, stages=one.stages * 2)
    assert [item.root for item in twice.left_out] == ["t7", "t7"]


def test_rewrites_are_added_up_over_stages() -> None:
    one = report()
    twice = dataclasses.replace(one, stages=one.stages * 2)
    assert twice.rewrites() == {"fuse_conv_batchnorm": 38}


def test_failures() -> None:
    assert [check.what for check in verification().failures()] == ["z|w"]
    assert verification(checks=(Check("y", "not verified"),)).failures() == []


def test_unmet_is_what_is_not_known_to_hold() -> None:
    outcomes = [
        RequirementOutcome(str(met), "size_ratio", None, met) for met in (True, False, None)
    ]
    assert [o.met for o in report(requirements=tuple(outcomes)).unmet] == [False, None]


def test_unknown_is_none() -> None:
    assert stats().peak_activation_bytes is None

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import UsageError
from graphopt.report import Loss, Report, StageReport
from graphopt.report.requirement import (
    METRICS,
    OPERATORS,
    Requirement,
    check_measurable,
    decide,
    parse_requirement,
)
from tests.build import few
from tests.report.samples import report, stats, verification

OPTIMIZE = [name for name, metric in METRICS.items() if metric.measured_by == "optimize"]


def value(metric: str, found: Report) -> float | None:
    return decide(parse_requirement(f"{metric} >= 0"), found).value


def stages(*losses: tuple[Loss, ...], **changes: Any) -> tuple[StageReport, ...]:
    """One stage for each tuple of losses."""
    found = [verification(losses=item, **changes) for item in losses]
    return tuple(StageReport(1, True, (), outcome) for outcome in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nodes_ratio <= 0.9", Requirement("nodes_ratio", "<=", 0.9, "nodes_ratio <= 0.9")),
        ("  snr_db>=40\n", Requirement("snr_db", ">=", 40, "snr_db >= 40")),
        ("snr_db > -3", Requirement("snr_db", ">", -3, "snr_db > -3")),
        ("top1_drop_points==0", Requirement("top1_drop_points", "==", 0, "top1_drop_points == 0")),
        ("size_ratio < 2.5e-1", Requirement("size_ratio", "<", 0.25, "size_ratio < 2.5e-1")),
        ("p99_ms < .5", Requirement("p99_ms", "<", 0.5, "p99_ms < .5")),
        ("snr_db <= 40", Requirement("snr_db", "<=", 40, "snr_db <= 40")),
    ],
)
def test_grammar(text: str, expected: Requirement) -> None:
    assert parse_requirement(text) == expected


@given(
    st.sampled_from(sorted(METRICS)),
    st.sampled_from(sorted(OPERATORS)),
    st.floats(min_value=0, allow_infinity=False, allow_subnormal=True),
    st.sampled_from(["", " ", "\t "]),
)
@few
def test_any_metric_any_operator_any_number(
    metric: str, sign: str, limit: float, blank: str
) -> None:
    found = parse_requirement(f"{metric}{blank}{sign}{blank}{limit!r}")
    assert (found.metric, found.operator, found.limit) == (metric, sign, limit)
    assert parse_requirement(found.text) == found


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("", "is not METRIC OP NUMBER", "in quotes"),
        ("nodes_ratio", "is not METRIC OP NUMBER", "in quotes"),
        ("nodes_ratio <=", "is not METRIC OP NUMBER", "in quotes"),
        ("<= 0.9", "is not METRIC OP NUMBER", "in quotes"),
        ("nodes_ratio <= 0.9 0.8", "is not METRIC OP NUMBER", "in quotes"),
        ("nodes_ratio at most 1", "is not METRIC OP NUMBER", "in quotes"),
        ("node_ratio <= 1", "no metric 'node_ratio'", "did you mean nodes_ratio?"),
        ("speed >= 1", "no metric 'speed'", "known: size_ratio, nodes_ratio"),
        ("snr_db => 40", "no operator '=>'", "one of: <= >= == < >"),
        ("snr_db = 40", "no operator '='", "one of: <="),
        ("snr_db != 40", "no operator '!='", "one of: <="),
        ("snr_db >= nan", "'nan' is not a finite number", None),
        ("snr_db >= inf", "'inf' is not a finite number", None),
        ("snr_db >= 1e999", "'1e999' is not a finite number", None),
        ("size_ratio <= 90%", "'90%' is not a finite number", None),
        ("size_ratio <= 1_0", "'1_0' is not a finite number", None),
        ("size_ratio <= ٣", "is not a finite number", None),
        ("size_ratio <= -0.5", "size_ratio is never negative", None),
        ("p99_ms <= -1", "p99_ms is never negative", None),
        ("top1_drop_points <= -1", "top1_drop_points is never negative", None),
    ],
)
def test_mistakes(text: str, problem: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse_requirement(text)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (hint is None) == (caught.value.hint is None)
    assert hint is None or hint in str(caught.value.hint)


def test_names_carry_their_unit() -> None:
    assert {name.rsplit("_", 1)[1] for name in METRICS} == {"ratio", "ms", "db", "points"}


def test_what_a_command_does_not_measure_is_refused() -> None:
    fine = [parse_requirement(f"{name} >= 0") for name in OPTIMIZE]
    check_measurable(fine, "optimize")
    with pytest.raises(UsageError, match="graphopt optimize does not measure p99_ms") as caught:
        check_measurable([*fine, parse_requirement("p99_ms <= 5")], "optimize")
    hint = f"that is for graphopt bench; optimize measures {', '.join(OPTIMIZE)}"
    assert caught.value.hint == hint
    with pytest.raises(UsageError, match="graphopt bench does not measure size_ratio"):
        check_measurable(fine, "bench")


@pytest.mark.parametrize(
    ("sign", "below", "equal", "above"),
    [
        ("<=", True, True, False),
        ("<", True, False, False),
        (">=", False, True, True),
        (">", False, False, True),
        ("==", False, True, False),
    ],
)
def test_the_condition_is_the_one_that_must_hold(
    sign: str, below: bool, equal: bool, above: bool
) -> None:
    condition = parse_requirement(f"snr_db {sign} 40")
    assert [condition.holds(v) for v in (39.9, 40.0, 40.1)] == [below, equal, above]
    assert not condition.holds(math.nan)


@pytest.mark.parametrize("metric", OPTIMIZE)
def test_every_metric_of_optimize_is_measured(metric: str) -> None:
    whole = report(before=stats(peak_activation_bytes=5), after=stats(peak_activation_bytes=4),
                   stages=stages((Loss("off", 9.0, 0.0, 0.5),)))  # fmt: skip
    found = value(metric, whole)
    assert found is not None
    assert math.isfinite(found)


def test_ratios() -> None:
    before = stats(nodes=23, constant_nodes=3, file_bytes=1000, parameters=100, macs=8)
    after = stats(nodes=18, constant_nodes=0, file_bytes=250, parameters=50, macs=2)
    whole = report(before=before, after=after)
    assert value("size_ratio", whole) == 0.25
    assert value("nodes_ratio", whole) == 0.9  # 18 of 20: Constant nodes do not count
    assert value("parameters_ratio", whole) == 0.5
    assert value("macs_ratio", whole) == 0.25
    assert decide(parse_requirement("nodes_ratio <= 0.9"), whole).met is True
    assert decide(parse_requirement("nodes_ratio < 0.9"), whole).met is False


def test_ratio_of_nothing() -> None:
    none, some = stats(macs=0), stats(macs=1)
    assert value("macs_ratio", report(before=none, after=none)) == 1.0
    assert value("macs_ratio", report(before=none, after=some)) == math.inf
    assert value("macs_ratio", report(before=some, after=none)) == 0.0


def test_ratio_that_is_not_known() -> None:
    condition = parse_requirement("macs_ratio <= 1")
    lost = decide(condition, report(after=stats(macs=None)))
    assert (lost.value, lost.met, lost.detail) == (None, None, "unknown for the result")
    never = decide(condition, report(before=stats(macs=None), after=stats(macs=None)))
    assert (never.met, never.detail) == (None, "unknown for the original")


def test_the_worse_loss_counts() -> None:
    format_first = (Loss("off", 58.6, 0.0, 0.9), Loss("all", 10.5, 0.0, 0.99))
    for losses in (format_first, format_first[::-1]):
        whole = report(stages=stages(losses))
        snr = decide(parse_requirement("snr_db >= 40"), whole)
        assert (snr.value, snr.met, snr.detail) == (10.5, False, "optimisations all")
        drop = decide(parse_requirement("top1_drop_points <= 5"), whole)
        assert (drop.value, drop.met, drop.detail) == (10.0, False, "optimisations off")


def test_the_last_stage_has_the_loss_of_the_result() -> None:
    first, last = (Loss("off", 60.0, 0.0, 1.0),), (Loss("off", 30.0, 0.0, 1.0),)
    assert value("snr_db", report(stages=stages(first, last))) == 30.0


@pytest.mark.parametrize("metric", ["snr_db", "top1_drop_points"])
def test_loss_of_an_earlier_stage_is_not_the_result_s(metric: str) -> None:
    whole = report(stages=stages((Loss("off", 60.0, 0.0, 1.0),), ()))
    outcome = decide(parse_requirement(f"{metric} >= 0"), whole)
    assert (outcome.value, outcome.met) == (None, None)


def test_no_lossy_rewrite_is_no_loss_where_it_is_verified() -> None:
    exact = report(stages=stages((), ()))
    snr = decide(parse_requirement("snr_db >= 300"), exact)
    assert (snr.value, snr.met) == (math.inf, True)
    assert snr.detail == "verified, no lossy rewrite stands"
    assert decide(parse_requirement("top1_drop_points == 0"), exact).met is True


@pytest.mark.parametrize("status", ["unverified", "failed"])
@pytest.mark.parametrize("metric", ["snr_db", "top1_drop_points"])
def test_loss_that_nobody_measured(metric: str, status: str) -> None:
    whole = report(status=status, stages=stages(()))
    outcome = decide(parse_requirement(f"{metric} >= 0"), whole)
    assert (outcome.value, outcome.met) == (None, None)
    assert "could not be compared" in outcome.detail


def test_measured_loss_counts_whatever_else_is_unverified() -> None:
    whole = report(status="unverified", stages=stages((Loss("off", 50.0, 0.0, None),)))
    assert decide(parse_requirement("snr_db >= 40"), whole).met is True
    assert decide(parse_requirement("top1_drop_points <= 1"), whole).met is None


@pytest.mark.parametrize("order", [1, -1])
def test_loss_that_is_no_number(order: int) -> None:
    losses = (Loss("off", math.nan, 0.0, 1.0), Loss("all", 50.0, 0.0, 1.0))[::order]
    outcome = decide(parse_requirement("snr_db >= 40"), report(stages=stages(losses)))
    assert (outcome.value, outcome.met, outcome.detail) == (None, None, "not a number")


def test_one_row_in_a_thousand_is_a_tenth_of_a_point() -> None:
    for changed in range(1001):
        loss = Loss("off", 50.0, 0.0, (1000 - changed) / 1000)
        condition = parse_requirement(f"top1_drop_points <= {changed / 10}")
        assert decide(condition, report(stages=stages((loss,)))).met is True, changed


def test_outcome_keeps_the_condition() -> None:
    outcome = decide(parse_requirement("size_ratio<=1"), report())
    assert (outcome.text, outcome.metric) == ("size_ratio <= 1", "size_ratio")
    assert dataclasses.asdict(outcome)["met"] is True

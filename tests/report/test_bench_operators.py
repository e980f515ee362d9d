from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.report.bench import NodeTime
from graphopt.report.bench_operators import OperatorTime, operator_times, short_provider
from tests.build import few
from tests.report.bench_reports import CPU, CUDA, sample_arm


def test_by_operator_the_longest_first() -> None:
    rows = operator_times(sample_arm().profile)
    assert [(row.op_type, row.nodes) for row in rows] == [("Conv", 2), ("Relu", 1)]
    assert [row.run_ms for row in rows] == pytest.approx([6.1, 0.5])
    assert [row.share for row in rows] == pytest.approx([0.925, 0.075])


def test_providers_apart() -> None:
    rows = operator_times([NodeTime("a", "Conv", CPU, 10, 1000, 0.25),
                           NodeTime("b", "Conv", CUDA, 10, 3000, 0.75)])  # fmt: skip
    assert rows == [OperatorTime("Conv", CUDA, 1, 3.0, 0.75), OperatorTime("Conv", CPU, 1, 1, 0.25)]


def test_a_node_in_a_loop_counts_with_all_its_calls() -> None:
    rows = operator_times([NodeTime("a", "Conv", CPU, 10, 1000, 0.1),
                           NodeTime("b", "Relu", CPU, 10, 1000, 0.1),
                           NodeTime("c", "Add", CPU, 80, 1000, 0.8)])  # fmt: skip
    assert rows[0].op_type == "Add"
    assert rows[0].run_ms == pytest.approx(8)


def test_no_profile() -> None:
    assert operator_times([]) == []


@pytest.mark.parametrize(
    ("name", "short"), [(CPU, "CPU"), ("OpenVINO", "OpenVINO"), ("ExecutionProvider",) * 2]
)
def test_short_names_of_providers(name: str, short: str) -> None:
    assert short_provider(name) == short


nodes = st.builds(
    NodeTime, name=st.just("n"), op_type=st.sampled_from("ABC"),
    provider=st.sampled_from([CPU, CUDA]), calls=st.just(50),
    mean_us=st.floats(0, 1e6), share=st.floats(0, 1),
)  # fmt: skip


@few
@given(st.lists(nodes))
def test_nothing_is_lost(profile: list[NodeTime]) -> None:
    rows = operator_times(profile)
    assert sum(row.nodes for row in rows) == len(profile)
    assert sum(r.run_ms for r in rows) == pytest.approx(sum(n.mean_us for n in profile) / 1000)
    assert sum(row.share for row in rows) == pytest.approx(sum(n.share for n in profile))
    assert [row.run_ms for row in rows] == sorted((row.run_ms for row in rows), reverse=True)

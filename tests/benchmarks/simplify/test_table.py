"""The table and the acceptance lines say what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.simplify.judge import Finding
from tests.benchmarks.simplify.measure import OURS, UNVERIFIED, Result, Row
from tests.benchmarks.simplify.table import acceptance, table

TOOLS = ["onnxsim", "onnxslim", OURS, UNVERIFIED]
ORIGINAL = Finding("ok", nodes=100, bytes=1000, signature=[["x", 1, [1]]], inputs=3)


def row(
    name: str = "m", *, ours: Finding | None = None, seconds: float = 1.0, status: str = "ok"
) -> Row:
    made = ours or replace(ORIGINAL, nodes=40)
    results = {
        "onnxsim": Result(
            "wrong", 3.0, 3.0, "differs", replace(ORIGINAL, status="wrong", nodes=10)
        ),
        "onnxslim": Result("ok", 1.0, 1.0, "", replace(ORIGINAL, nodes=50)),
        OURS: Result(status, seconds, seconds, "", made),
        UNVERIFIED: Result("ok", 0.5, 0.5, "", made),
    }
    return Row(name, ORIGINAL, results)


def lines(*rows: Row) -> dict[str, str]:
    found = acceptance(list(rows), ["m", "n"])
    return {line[:52].strip(): line[52:].strip() for line in found}


def test_all_is_met() -> None:
    found = lines(row(), row("n"))
    assert all(line.endswith("met") for line in list(found.values())[1:])
    assert found["rows in which a peer removed a node"] == "2"
    assert found["geometric mean of nodes / best <= 0.92"].split() == ["0.800", "met"]


def test_a_wrong_peer_is_not_the_best() -> None:
    assert row().best == 50
    assert "10 wrong" in table([row()], TOOLS) and "| 50 | 0.800 |" in table([row()], TOOLS)


def test_a_model_that_was_not_measured_before_does_not_count_for_the_nodes() -> None:
    worse = row("other", ours=replace(ORIGINAL, nodes=99))
    found = lines(row(), worse)
    assert found["rows in which a peer removed a node"] == "1"
    assert "NOT MET" not in found["no more nodes than the best peer"]


@pytest.mark.parametrize(
    "aim, ours",
    [
        ("no more nodes than the best peer", replace(ORIGINAL, nodes=51)),
        ("file bytes <= 1.01x", replace(ORIGINAL, nodes=40, bytes=1011)),
        ("0 signature changes", replace(ORIGINAL, nodes=40, signature=[])),
        ("0 new checker findings", replace(ORIGINAL, nodes=40, checker="bad")),
    ],
)
def test_what_is_not_met_is_named(aim: str, ours: Finding) -> None:
    assert "NOT MET: m" in lines(row(ours=ours))[aim]


def test_a_wrong_result_is_named() -> None:
    assert "NOT MET: m wrong" in lines(row(status="wrong"))["0 wrong"]
    assert "NOT MET: m crash" in lines(row(status="crash"))["0 wrong"]


def test_time_is_held_against_onnxslim() -> None:
    aim = f"{OURS}: time / onnxslim <= 1.5"
    assert lines(row(seconds=1.5))[aim].endswith(" met")
    assert lines(row(seconds=1.6))[aim].endswith("NOT MET")


def test_without_peers_the_known_figures_stand_in() -> None:
    one = row()
    alone = Row("m", ORIGINAL, {name: one.results[name] for name in (OURS, UNVERIFIED)}, 45)
    assert alone.best == 45
    assert Row("m", ORIGINAL, alone.results).best == 100

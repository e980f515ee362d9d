from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.benching.assemble import assemble_case, shapes_of
from graphopt.benching.options import BenchOptions
from graphopt.benching.runner import CaseInput, Samples
from graphopt.benching.timing_process import Load, Loaded, Rounds
from graphopt.report.bench import Arm, Case
from graphopt.runtime.settings import CPU, CUDA, Provider, SessionSettings
from tests.benching.placing import rounds_of

Y = np.array([[1, 2, 3]], np.float32)
SPINNING = "session.intra_op.allow_spinning"


def samples_of(
    *seconds: float, pairs: int = 30, processes: int = 3, block: int = 1, noise: float = 0.001,
    again: float | None = None, **given: Any,
) -> Samples:  # fmt: skip
    """Models that take so many seconds; the reference once more behind them."""
    rng = np.random.default_rng(0)
    each = np.array([*seconds, seconds[0] if again is None else again])
    rounds = []
    for _ in range(processes):
        shape = (pairs // processes, len(each), block)
        wall = each[None, :, None] * np.exp(noise * rng.standard_normal(shape))
        rounds.append(rounds_of(wall, 2 * wall))
    loaded = [Loaded((CPU,), 0.5 + n, 0.25, None) for n in range(len(each))]
    answers = [{"y": Y} for _ in seconds]
    plain: dict[str, Any] = {
        "load": Load(block=block), "rounds": rounds, "loaded": loaded, "answers": answers,
    }  # fmt: skip
    return Samples(**{**plain, **given})


def assembled(
    samples: Samples, *, batch: int | None = None, macs: Sequence[int | None] | None = None,
    settings: SessionSettings | None = None,
) -> Case:  # fmt: skip
    models = len(samples.answers)
    paths = [Path(f"{n}.onnx") for n in range(models)]
    case = CaseInput(paths, [{"x": Y}], settings or SessionSettings(), False)
    names = [f"model {n}" for n in range(models)]
    return assemble_case(case, samples, names, macs or [None] * models, batch, BenchOptions())


def test_ratio_is_candidate_by_reference() -> None:
    case = assembled(samples_of(0.010, 0.005, 0.020, 0.010))
    reference, faster, slower, same = case.arms
    assert reference is case.reference
    assert (reference.ratio, reference.cpu_ratio) == (None, None)
    assert (reference.verdict, reference.snr_db) == (None, None)
    for arm, ratio in ((faster, 0.5), (slower, 2.0), (same, 1.0)):
        assert arm.ratio is not None
        assert arm.ratio.low <= arm.ratio.value <= arm.ratio.high
        assert arm.ratio.value == pytest.approx(ratio, rel=0.01)
        assert arm.cpu_ratio is not None
        assert arm.cpu_ratio.value == pytest.approx(ratio, rel=0.01)
    assert [arm.verdict for arm in case.arms] == [None, "faster", "slower", "same"]
    assert [arm.model for arm in case.arms] == ["model 0", "model 1", "model 2", "model 3"]


def test_floor_is_the_reference_against_itself() -> None:
    case = assembled(samples_of(0.010, 0.005, again=0.012))
    assert case.floor is not None
    assert case.cpu_floor is not None
    assert case.floor.value == pytest.approx(1.2, rel=0.01)
    assert case.cpu_floor.value == pytest.approx(1.2, rel=0.01)
    assert len(case.arms) == 2  # the reference once more is no arm
    assert case.arms[1].verdict == "faster"  # a half stands out against it


def test_difference_within_the_floor_is_no_verdict() -> None:
    case = assembled(samples_of(0.010, 0.0095, again=0.0112))
    assert case.arms[1].verdict == "inconclusive"
    assert any("favours one of two equal models" in note for note in case.notes)


def test_conditions_are_told() -> None:
    samples = samples_of(
        0.01, 0.02, block=6, dropped=1, stopped="interval", pairs=60, load=Load(block=6)
    )
    settings = SessionSettings(Provider(CPU, {"a": "b"}), threads=2)
    case = assembled(samples, batch=4, settings=settings)
    assert (case.provider, case.provider_options, case.threads) == (CPU, {"a": "b"}, 2)
    assert (case.block, case.dropped, case.pairs, case.processes) == (6, 1, 60, 3)
    assert (case.mode, case.concurrency, case.rate) == ("alternating", 1, None)
    assert (case.batch, case.shapes, case.stopped) == (4, {"x": [1, 3]}, "interval")
    assert case.reference.wall.calls == 360


def test_times_are_in_milliseconds() -> None:
    samples = samples_of(0.010, 0.020, noise=0)
    case = assembled(samples)
    assert case.arms[1].wall.p50_ms == pytest.approx(20)
    assert case.arms[1].cpu is not None
    assert case.arms[1].cpu.mean_ms == pytest.approx(40)
    assert [arm.session_ms for arm in case.arms] == [500, 1500]
    assert [arm.first_run_ms for arm in case.arms] == [250, 250]
    assert case.arms[0].copy_ms is None
    loaded = [Loaded((CUDA,), 1, 1, 0.003)] * 3
    found = assembled(samples_of(0.01, 0.02, loaded=loaded))
    assert found.arms[0].copy_ms == pytest.approx(3)


@pytest.mark.parametrize(
    ("batch", "load", "throughput"),
    [
        (None, Load(), [100, 50]),
        (1, Load(), [100, 50]),
        (8, Load(), [800, 400]),
        (8, Load("closed loop", 1, 4), [3200, 1600]),
        (None, Load("closed loop", 1, 4), [400, 200]),
        (2, Load("open loop", 1, 4, 30.0), [60, 60]),
    ],
)
def test_throughput_counts_rows_and_callers(
    batch: int | None, load: Load, throughput: list[float]
) -> None:
    case = assembled(samples_of(0.010, 0.020, noise=0, load=load), batch=batch)
    assert [arm.throughput for arm in case.arms] == pytest.approx(throughput)


def test_floating_point_operations_do_not_count_the_batch_twice() -> None:
    # A million multiply-accumulates of one run, with all rows, 100 times a second.
    samples = samples_of(0.010, 0.020, noise=0)
    for batch in (None, 8):
        case = assembled(samples, batch=batch, macs=[1_000_000, None])
        assert case.arms[0].gflops == pytest.approx(0.2)
        assert (case.arms[0].macs, case.arms[1].macs) == (1_000_000, None)
        assert case.arms[1].gflops is None


@pytest.mark.parametrize("name", ["closed loop", "alternating"])
def test_only_an_open_loop_has_servers(name: Any) -> None:
    arm = assembled(samples_of(0.01, 0.02, load=Load(name, 1, 2))).arms[1]
    assert arm.server_busy is arm.lost is None


def test_open_loop_tells_how_busy_its_servers_were() -> None:
    samples = samples_of(0.01, 0.02, load=Load("open loop", 1, 2, 30.0))
    for number, part in enumerate(samples.rounds):
        busy = np.tile([0.1, 0.2 + 0.1 * number, 0.9], (len(part.wall), 1))
        samples.rounds[number] = Rounds(part.wall, part.cpu, busy, 0)
    first, second = assembled(samples).arms
    assert first.server_busy == pytest.approx(0.1)
    assert second.server_busy == pytest.approx(0.3)
    assert first.lost == 0


@pytest.mark.parametrize(
    ("result", "snr"),
    [
        ({"y": Y}, math.inf),
        ({"y": Y + np.float32(1)}, 10 * math.log10(14 / 3)),
        ({"y": Y.reshape(3)}, None),
        ({"y": Y * np.float32("nan")}, None),
        ({"z": Y}, None),
        ({}, None),
    ],
)
def test_distance_of_the_answers(result: dict[str, Any], snr: float | None) -> None:
    case = assembled(samples_of(0.01, 0.02, answers=[{"y": Y}, result]))
    found = case.arms[1].snr_db
    assert found == (None if snr is None else pytest.approx(snr))


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a", "b"], object),
        np.array([1, 2]),
        [np.array([1, 2]), np.array(["a"], object)],
        None,
        np.zeros((0, 3), np.float32),
    ],
    ids=["strings", "integers", "sequence", "empty optional", "no rows"],
)
def test_equal_answers_of_any_kind(value: Any) -> None:
    case = assembled(samples_of(0.01, 0.02, answers=[{"y": value}, {"y": value}]))
    assert case.arms[1].snr_db == math.inf


def test_answers_without_a_distance_that_differ_are_not_equal() -> None:
    other = {"y": np.array([3, 4])}
    case = assembled(samples_of(0.01, 0.02, answers=[{"y": np.array([1, 2])}, other]))
    assert case.arms[1].snr_db != math.inf


@pytest.mark.parametrize(
    "settings",
    [
        SessionSettings(Provider(CUDA)),
        SessionSettings(spinning=True),
        SessionSettings(config={SPINNING: "1"}),
    ],
)
def test_no_processor_clock_where_it_says_nothing(settings: SessionSettings) -> None:
    case = assembled(samples_of(0.01, 0.02), settings=settings)
    assert case.cpu_floor is None
    assert all(arm.cpu is None and arm.cpu_ratio is None for arm in case.arms)
    assert case.arms[1].ratio is not None


@pytest.mark.parametrize("zeros", ["all", "some"])
def test_processor_clock_that_ticks_too_coarsely(zeros: str) -> None:
    samples = samples_of(0.01, 0.02)
    for number, part in enumerate(samples.rounds):
        cpu = np.zeros_like(part.wall)
        cpu[1::2] = 0.01 if zeros == "some" else 0
        samples.rounds[number] = Rounds(part.wall, cpu, part.busy, 0)
    case = assembled(samples)
    assert case.cpu_floor is None
    assert case.arms[1].cpu_ratio is None
    assert case.arms[1].verdict == "slower"


def test_one_model_alone() -> None:
    case = assembled(samples_of(0.010))
    assert [arm.verdict for arm in case.arms] == [None]
    assert case.floor is not None
    assert case.reference.ratio is None


def test_a_single_round_is_told_and_decides_nothing() -> None:
    case = assembled(samples_of(0.010, 0.001, pairs=1, processes=1))
    assert case.pairs == 1
    assert case.arms[1].verdict == "inconclusive"
    assert any("1 pairs decide nothing" in note or "1 pair" in note for note in case.notes)


def test_notes_only_where_there_is_something_to_know() -> None:
    assert assembled(samples_of(0.010, 0.005)).notes == []
    assert "--seconds" in assembled(samples_of(0.010, 0.005, pairs=27)).notes[0]


def test_shapes() -> None:
    assert shapes_of({"x": Y, "s": [Y], "n": np.array(1)}) == {"x": [1, 3], "n": []}


def test_arms_are_whole() -> None:
    arm: Arm = assembled(samples_of(0.01, 0.02)).arms[1]
    assert (arm.startup, arm.memory, arm.placement, arm.profile) == (None, None, None, [])

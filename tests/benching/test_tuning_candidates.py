from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.tuning_candidates import (
    MAX_CANDIDATES,
    Candidate,
    candidates_for,
    default_candidate,
)
from graphopt.errors import UsageError
from graphopt.report.tune import Objective
from graphopt.runtime.settings import CPU, OPENVINO, Provider, SessionSettings, check_config
from tests.build import few

OBJECTIVES: tuple[Objective, ...] = ("latency", "throughput", "memory")


@few
@given(
    st.sampled_from(OBJECTIVES),
    st.integers(1, 256),
    st.lists(st.integers(1, 64), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(1, 64), min_size=1, max_size=6, unique=True),
)
def test_candidates(
    objective: Objective, threads: int, batches: list[int], callers: list[int]
) -> None:
    if objective != "throughput":
        batches, callers = batches[:1], [1]
    found = candidates_for(objective, Provider(CPU), threads, batches, callers)
    assert found[0] == default_candidate(Provider(CPU), batches[0], callers[0])
    assert found[0].settings == SessionSettings(spinning=True)
    assert 1 < len(found) <= MAX_CANDIDATES
    assert len({candidate.name for candidate in found}) == len(found)
    for candidate in found:
        check_config(candidate.settings.config)
        assert candidate.settings.threads <= threads
        assert candidate.batch in batches
        assert candidate.concurrency in callers


def test_every_setting_is_tried() -> None:
    found = candidates_for("latency", Provider(CPU), 4)
    names = {candidate.name for candidate in found}
    assert names >= {
        "1 thread", "2 threads", "4 threads", "no spinning", "level off", "level basic",
        "level extended", "no memory pattern", "no arena", "no prepacking", "IO binding",
    }  # fmt: skip


@pytest.mark.parametrize("objective", ["latency", "memory"])
@pytest.mark.parametrize(("batches", "callers"), [([1, 2], [1]), ([1], [2]), ([1], [1, 2])])
def test_loads_belong_to_throughput(
    objective: Objective, batches: list[int], callers: list[int]
) -> None:
    with pytest.raises(UsageError, match="belong to the objective"):
        candidates_for(objective, Provider(CPU), 2, batches, callers)


def test_no_thread_at_all() -> None:
    with pytest.raises(UsageError, match="--max-threads 0"):
        candidates_for("latency", Provider(CPU), 0)


def test_openvino_has_an_option_of_its_own_for_threads() -> None:
    found = candidates_for("latency", Provider(OPENVINO), 2)
    (one,) = [c for c in found if c.name == "1 thread"]
    assert one.settings.provider.options == {"num_of_threads": "1"}
    assert found[0].settings.provider.options == {}


def test_name_tells_what_differs() -> None:
    assert default_candidate(Provider(CPU)).name == "default"
    settings = SessionSettings(threads=2, level="basic", arena=False)
    assert Candidate(settings, True, 4, 3).name == (
        "2 threads, no spinning, level basic, no arena, IO binding, batch 4, 3 callers"
    )


def test_description_has_every_setting() -> None:
    settings = SessionSettings(threads=2, prepacking=False, config={"a": "b"})
    described = Candidate(settings, batch=8).described
    assert (described.threads, described.spinning, described.prepacking) == (2, False, False)
    assert (described.config, described.batch, described.binding) == ({"a": "b"}, 8, False)

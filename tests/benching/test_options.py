from __future__ import annotations

from typing import Any

import pytest

from graphopt.benching.options import BenchOptions
from graphopt.errors import UsageError
from graphopt.runtime.settings import CPU, CUDA, Provider, SessionSettings

ON_CUDA: dict[str, Any] = {"providers": (Provider(CUDA),), "cuda_graph": True}


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, "alternating"),
        ({"concurrency": 2}, "closed loop"),
        ({"rate": 10.0}, "open loop"),
        ({"rate": 10.0, "concurrency": 4}, "open loop"),
    ],
)
def test_mode(given: dict[str, Any], mode: str) -> None:
    assert BenchOptions(**given).mode == mode


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"allow_fallback": True},
        {"strict_provider": True},
        {"binding": False},
        {"concurrency": 9},
        ON_CUDA,
        {**ON_CUDA, "binding": True},
        {**ON_CUDA, "providers": (Provider(CUDA, {"device_id": "1"}), Provider(CUDA))},
    ],
)
def test_what_goes_together(given: dict[str, Any]) -> None:
    BenchOptions(**given).check()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"allow_fallback": True, "strict_provider": True}, "exclude each other"),
        ({"cuda_graph": True}, f"for {CUDA}, not for {CPU}"),
        ({**ON_CUDA, "binding": False}, "needs bound inputs"),
        ({**ON_CUDA, "concurrency": 2}, "one caller"),
        ({**ON_CUDA, "providers": (Provider(CUDA), Provider("X"))}, "not for X"),
        (
            {
                "session": SessionSettings(
                    config={
                        "session.use_ort_model_bytes_directly": "1",
                        "session.use_ort_model_bytes_for_initializers": "1",
                    }
                )
            },
            "wrong answers",
        ),
    ],
)
def test_what_excludes_each_other(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BenchOptions(**given).check()


def test_progress_is_optional() -> None:
    BenchOptions().progress("nothing is said")

"""1,000 requests that arrive by themselves at 80 % of what the model can answer."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.benching.timing_process import Load, TimingProcess
from graphopt.runtime.settings import SessionSettings
from models.catalog import by_name, feeds
from models.fetch import fetch

REQUESTS = 1000


@pytest.mark.parametrize("callers", [1, 2])
def test_none_is_lost_and_waiting_counts(callers: int) -> None:
    model = by_name("resnet_20")
    with TimingProcess([feeds(model, 0)]) as process:
        process.load(fetch("resnet_20"), SessionSettings(threads=1), binding=False)
        process.warm(20)
        closed = process.rounds(1, 0, Load("closed loop", 400, callers), seed=0)
        capacity = callers / float(np.mean(closed.wall))
        load = Load("open loop", REQUESTS, callers, 0.8 * capacity)
        opened = process.rounds(1, 0, load, seed=1)
    latency = opened.wall[0, 0]
    assert opened.lost == 0
    assert latency.shape == (REQUESTS,)
    assert np.isfinite(latency).all()
    assert (latency > 0).all()
    # A queue at 80 % makes a request wait; its latency is not the time of its run alone.
    assert latency.mean() > 1.2 * np.median(closed.wall)

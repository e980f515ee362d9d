from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.benching.fallback import LIMIT, check_fallback
from graphopt.errors import ExitCode, ProviderUnavailable
from graphopt.report.bench import PlacedNode, Placement
from graphopt.runtime.settings import CPU, CUDA
from tests.build import few

SHARES = st.none() | st.floats(0, 1)


def node(name: str, op_type: str = "Shape") -> PlacedNode:
    return PlacedNode(name, op_type, CPU, 0, 8)


def placement(macs: float | None, size: float | None, *names: str) -> Placement:
    elsewhere = [node(name) for name in names]
    return Placement({CUDA: 9, CPU: len(names)}, macs, size, elsewhere)


def refused(found: Placement, *, strict: bool = False, allow: bool = False) -> bool:
    try:
        check_fallback(found, CUDA, strict=strict, allow=allow)
    except ProviderUnavailable:
        return True
    return False


@pytest.mark.parametrize(
    ("macs", "size", "expected"),
    [
        (0.0, 0.01, False),
        (0.01, 0.0, False),
        (0.0, 0.0101, True),
        (0.0101, 0.0, True),
        (None, 0.01, False),
        (0.01, None, False),
        (None, 0.02, True),
        (None, None, True),
    ],
)
def test_more_than_one_percent_of_either_is_refused(
    macs: float | None, size: float | None, expected: bool
) -> None:
    assert refused(placement(macs, size, "a")) is expected


@few
@given(SHARES, SHARES)
def test_allow_refuses_nothing_and_strict_all(macs: float | None, size: float | None) -> None:
    found = placement(macs, size, "a")
    assert not refused(found, allow=True)
    assert refused(found, strict=True)


@few
@given(SHARES, SHARES)
def test_cpu_has_nothing_to_judge(macs: float | None, size: float | None) -> None:
    check_fallback(placement(macs, size, "a"), CPU, strict=True, allow=False)


def test_no_node_elsewhere_is_fine_even_when_strict() -> None:
    assert not refused(placement(0.0, 0.0), strict=True)


def test_message_names_provider_shares_and_heaviest_nodes() -> None:
    found = placement(0.314, 0.0254, *"abcde")
    with pytest.raises(ProviderUnavailable) as caught:
        check_fallback(found, CUDA, strict=False, allow=False, file="m.onnx")
    assert str(caught.value) == (
        f"m.onnx: {CUDA} leaves 5 nodes to {CPU}, with 31 % of the multiply-accumulates and "
        "2.5 % of the bytes: Shape a, Shape b, Shape c and 2 more"
    )
    assert caught.value.exit_code == ExitCode.NO_PROVIDER
    assert caught.value.hint == "--allow-fallback measures it as it is"


def test_message_says_what_is_unknown_and_takes_nodes_without_a_name() -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        check_fallback(placement(None, 0.5, ""), CUDA, strict=False, allow=False)
    assert str(caught.value) == (
        f"{CUDA} leaves 1 node to {CPU}, with an unknown share of the multiply-accumulates and "
        "50 % of the bytes: Shape"
    )


def test_hint_of_strict_is_to_leave_it_out_where_that_would_do() -> None:
    hints = []
    for share in (LIMIT, 2 * LIMIT):
        with pytest.raises(ProviderUnavailable) as caught:
            check_fallback(placement(0.0, share, "a"), CUDA, strict=True, allow=False)
        hints.append(caught.value.hint or "")
    assert ["--strict-provider" in hint for hint in hints] == [True, False]
    assert ["--allow-fallback" in hint for hint in hints] == [False, True]

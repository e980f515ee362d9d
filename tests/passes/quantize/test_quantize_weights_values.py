"""The numbers of quantize_weights: how far codes times scales are from a weight, and how cheap."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from graphopt.passes.quantize import _blocks
from graphopt.passes.quantize._blocks import blocks, part
from graphopt.passes.quantize._codes import Quantized, quantize
from graphopt.passes.quantize._layouts import Layout, Option, options, share_out
from tests.build import few
from tests.passes.support import Array

DTYPES = [np.float16, np.float32, np.float64]


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Finite weights of every size of number, zeros and whole zero channels among them."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(npst.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=6))
    elements = npst.from_dtype(
        dtype, allow_nan=False, allow_infinity=False, allow_subnormal=draw(st.booleans())
    )
    weight: Array = draw(npst.arrays(dtype, shape, elements=elements, fill=st.just(0.0)))
    return weight


@st.composite
def layouts(draw: st.DrawFn, shape: tuple[int, ...]) -> Layout:
    axis, along = draw(st.permutations(range(len(shape))))[:2]
    runs = [n for n in range(1, shape[along] + 1) if shape[along] % n == 0]
    return Layout(shape, axis, along, draw(st.sampled_from(runs)))


def restored(found: Quantized, layout: Layout) -> Array:
    """What Cast, Mul and Reshape make of it, in float64."""
    exact = found.codes.astype(np.float64) * found.scales.astype(np.float64)
    return exact.reshape(layout.shape)


def steps(found: Quantized, layout: Layout) -> Array:
    whole = np.broadcast_to(found.scales.astype(np.float64), layout.split_shape)
    return whole.reshape(layout.shape)


def sums(errors: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(np.abs(errors.sum(axes)))


@few
@given(st.data())
def test_no_element_is_further_than_half_a_step(data: st.DataObject) -> None:
    weight = data.draw(arrays())
    layout = data.draw(layouts(weight.shape))
    found = quantize(weight, layout)
    assert found.codes.dtype == np.int8
    assert found.scales.dtype == weight.dtype
    assert found.scales.shape == layout.scale_shape
    assert (found.scales > 0).all()
    assert int(found.codes.min()) >= -127
    # Codes are found in float32, as good as the stored steps themselves.
    slack = 1e-5 * np.abs(weight.astype(np.float64))
    step = steps(found, layout)
    assert (np.abs(weight.astype(np.float64) - restored(found, layout)) <= step / 2 + slack).all()
    product = found.codes.astype(weight.dtype) * found.scales
    assert product.dtype == weight.dtype
    assert np.isfinite(product).all()


@few
@given(st.data())
def test_steps_are_no_larger_than_they_must_be(data: st.DataObject) -> None:
    weight = data.draw(arrays())
    layout = data.draw(layouts(weight.shape))
    peaks = layout.peaks(weight)
    scales = quantize(weight, layout).scales.astype(np.float64)
    info = np.finfo(weight.dtype)
    unit = np.maximum(float(info.eps) * peaks / 127, float(info.smallest_subnormal))
    assert (scales[peaks > 0] <= (peaks / 127 + 2 * unit)[peaks > 0]).all()
    assert (scales[peaks == 0] == 1).all()


@few
@given(st.data())
def test_a_zero_stays_a_zero(data: st.DataObject) -> None:
    weight = data.draw(arrays())
    layout = data.draw(layouts(weight.shape))
    axes = tuple(data.draw(st.sets(st.integers(0, weight.ndim - 1))))
    found = quantize(weight, layout, axes)
    if not axes:
        assert (restored(found, layout)[weight == 0] == 0).all()
    zero = quantize(np.zeros_like(weight), layout, axes)
    assert not zero.codes.any()


@few
@given(st.data())
def test_what_was_quantized_is_stored_exactly(data: st.DataObject) -> None:
    """Codes of codes times scales are the same codes, but for the last bit of a scale."""
    weight = data.draw(arrays())
    layout = data.draw(layouts(weight.shape))
    if weight.dtype != np.float32 or np.abs(weight[weight != 0]).min(initial=1) < 1e-30:
        weight = np.asarray(np.round(weight.astype(np.float64) % 100, 2), np.float32)
    first = quantize(weight, layout)
    product = (first.codes.astype(np.float32) * first.scales).reshape(weight.shape)
    again = quantize(product, layout)
    assert np.array_equal(again.codes, first.codes)
    assert np.allclose(again.scales, first.scales, rtol=1e-6)


@few
@given(st.integers(0, 10_000), st.sampled_from([(40, 60), (16, 8, 3, 3), (2, 24, 30)]), st.data())
def test_errors_along_contracted_axes_cancel(
    seed: int, shape: tuple[int, ...], data: st.DataObject
) -> None:
    weight = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    layout = data.draw(layouts(shape))
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    plain, shifted = quantize(weight, layout), quantize(weight, layout, axes)
    errors = [weight - restored(found, layout) for found in (plain, shifted)]
    assert (sums(errors[1], axes) <= sums(errors[0], axes) + 1e-5).all()
    assert (np.abs(errors[1]) <= steps(shifted, layout) * (1 + 1e-5)).all()
    assert np.array_equal(plain.scales, shifted.scales)


def test_errors_of_one_sign_would_have_added_up() -> None:
    """784 products with inputs of one sign, as behind a ReLU: four times less of an error."""
    weight = np.random.default_rng(0).standard_normal((300, 784)).astype(np.float32)
    layout = Layout(weight.shape, 0, 1, 784)
    plain, shifted = quantize(weight, layout), quantize(weight, layout, (1,))
    before, after = (sums(weight - restored(f, layout), (1,)).mean() for f in (plain, shifted))
    assert after < before / 3
    noise = [np.square(weight - restored(f, layout)).sum() for f in (plain, shifted)]
    assert noise[1] < 1.05 * noise[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_ends_of_a_type(dtype: Any) -> None:
    info = np.finfo(dtype)
    rows = [[info.max, -info.max], [info.smallest_subnormal, 0], [info.tiny, -info.tiny], [0, 0]]
    weight = np.array(rows, dtype)
    layout = Layout(weight.shape, 0, 1, 2)
    found = quantize(weight, layout)
    product = (found.codes.astype(dtype) * found.scales).astype(np.float64)
    assert np.isfinite(product).all()
    assert found.scales[3, 0] == 1
    assert np.allclose(product[0], weight[0].astype(np.float64), rtol=2 * float(info.eps))
    assert np.array_equal(product[1], weight[1].astype(np.float64))
    assert np.array_equal(found.codes[3], [0, 0])


def test_pieces_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    weight = rng.standard_normal((30, 8, 14)).astype(np.float32)
    layout = Layout(weight.shape, 0, 2, 7)
    whole = quantize(weight, layout, (2,))
    price = options(weight, [0, 2])
    monkeypatch.setattr(_blocks, "_BLOCK", 100)
    assert len(list(blocks(weight.shape))) > 5
    pieces = quantize(weight, layout, (2,))
    assert np.array_equal(whole.codes, pieces.codes)
    assert [o.layout for o in options(weight, [0, 2])] == [o.layout for o in price]


@few
@given(npst.array_shapes(min_dims=1, max_dims=4, max_side=7), st.integers(1, 50))
def test_blocks_cover_each_element_once(shape: tuple[int, ...], size: int) -> None:
    seen = np.zeros(shape, int)
    column = np.zeros([n if axis == 0 else 1 for axis, n in enumerate(shape)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "_BLOCK", size)
        for index in blocks(shape):
            seen[index] += 1
            piece = seen[index]
            assert np.broadcast_shapes(part(column, index).shape, piece.shape) == piece.shape
    assert (seen == 1).all()


@few
@given(st.data())
def test_options_cost_more_and_lose_less(data: st.DataObject) -> None:
    weight = data.draw(arrays())
    if not weight.any():
        weight = np.ones_like(weight)
    found = options(weight, range(weight.ndim))
    gains = [(a.noise - b.noise) / (b.nbytes - a.nbytes) for a, b in pairwise(found)]
    assert found
    assert all(gain > 0 for gain in gains)
    assert gains == sorted(gains, reverse=True)
    for option in found:
        scales = int(np.prod(option.layout.scale_shape)) * weight.dtype.itemsize
        assert option.nbytes >= scales


def test_noise_is_foretold() -> None:
    weight = np.random.default_rng(2).standard_normal((96, 120)).astype(np.float32)
    for option in options(weight, [0, 1]):
        lost = weight - restored(quantize(weight, option.layout), option.layout)
        measured = float(np.square(lost).sum() / np.square(weight.astype(np.float64)).sum())
        assert measured == pytest.approx(option.noise, rel=0.1)


def ladder(*prices: tuple[int, float]) -> list[Option]:
    layout = Layout((2, 2), 0, 1, 2)
    return [Option(layout, nbytes, noise) for nbytes, noise in prices]


def test_scales_go_where_each_byte_saves_the_most() -> None:
    poor = ladder((10, 9.0), (20, 3.0), (60, 1.0))
    fair = ladder((10, 2.0), (20, 1.5), (30, 1.2))
    chosen = [[o.nbytes for o in share_out([poor, fair], budget)] for budget in (0, 20, 30, 40, 80)]
    assert chosen == [[10, 10], [10, 10], [20, 10], [20, 20], [60, 20]]


@few
@given(st.data())
def test_the_budget_is_kept_and_well_spent(data: st.DataObject) -> None:
    weights = [data.draw(arrays()) for _ in range(3)]
    ladders = [options(w if w.any() else np.ones_like(w), range(w.ndim)) for w in weights]
    budget = data.draw(st.integers(0, 3000))
    chosen = share_out(ladders, budget)
    least = sum(options[0].nbytes for options in ladders)
    assert sum(option.nbytes for option in chosen) <= max(budget, least)
    more = share_out(ladders, 2 * budget + least)
    assert sum(o.noise for o in more) <= sum(o.noise for o in chosen) * (1 + 1e-9)

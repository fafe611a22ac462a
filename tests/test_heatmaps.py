"""Decoding heatmaps: the definitions, written as loops, against the vectorised code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.ndimage import gaussian_filter

from mobilepose_sdk.decoding.heatmaps import METHODS, decode, gaussian_blur
from mobilepose_sdk.errors import InvalidInputError

pytestmark = pytest.mark.filterwarnings("error")

SHAPES = npst.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=9)
VALUES = st.floats(-2, 2, width=32, allow_subnormal=False)
MAPS = npst.arrays(np.float32, SHAPES, elements=VALUES)


def soft_argmax(heatmap, beta):
    total = x_sum = y_sum = 0.0
    peak = float(heatmap.max())
    for y, row in enumerate(heatmap.tolist()):
        for x, value in enumerate(row):
            weight = math.exp(max(beta * (value - peak), -700.0))
            total, x_sum, y_sum = total + weight, x_sum + weight * x, y_sum + weight * y
    return x_sum / total, y_sum / total


def quarter_offset(heatmap):
    height, width = heatmap.shape
    rows = heatmap.tolist()
    value, y, x = max((rows[y][x], -y, -x) for y in range(height) for x in range(width))
    y, x = -y, -x
    if not (1 < x < width - 1 and 1 < y < height - 1):
        return x, y, value
    step = [0.25 * ((a > b) - (a < b)) for a, b in ((rows[y][x + 1], rows[y][x - 1]), (rows[y + 1][x], rows[y - 1][x]))]
    return x + step[0], y + step[1], value


def gaussian(centres, sigma=2.0, height=64, width=48):
    y, x = np.mgrid[:height, :width]
    cx, cy = np.asarray(centres).T[:, :, None, None]
    return np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)).astype(np.float32)[:, None]


@pytest.mark.parametrize("beta", [0, 1e-3, 1, 160, 1e6, 1e30])
@settings(max_examples=60, deadline=None)
@given(heatmaps=MAPS)
def test_soft_argmax_is_the_expected_position(beta, heatmaps):
    xy, scores = decode(heatmaps, beta=beta)
    assert xy.dtype == scores.dtype == np.float32
    assert xy.shape == (*heatmaps.shape[:2], 2)
    for n, k in np.ndindex(heatmaps.shape[:2]):
        np.testing.assert_allclose(xy[n, k], soft_argmax(heatmaps[n, k], beta), atol=2e-3)
        x, y = np.rint(xy[n, k]).astype(int)
        assert scores[n, k] == heatmaps[n, k, y, x]


@settings(max_examples=150, deadline=None)
@given(heatmaps=MAPS)
def test_quarter_offset_follows_the_higher_neighbour(heatmaps):
    xy, scores = decode(heatmaps, "quarter-offset")
    for n, k in np.ndindex(heatmaps.shape[:2]):
        x, y, value = quarter_offset(heatmaps[n, k])
        assert (xy[n, k, 0], xy[n, k, 1], scores[n, k]) == (x, y, np.float32(value))


def test_quarter_offset_only_inside_the_border():
    height, width = 6, 7
    for y, x in np.ndindex(height, width):
        heatmap = np.zeros((height, width), dtype=np.float32)
        heatmap[y:, x:] = 0.5
        heatmap[y, x] = 1
        inside = x in (2, 3, 4, 5) and y in (2, 3, 4)
        shift = 0.25 if inside else 0
        np.testing.assert_array_equal(decode(heatmap[None, None], "quarter-offset")[0][0, 0], [x + shift, y + shift])


@pytest.mark.parametrize("beta", [0.0, 160.0, 3e38, 1e39, 1e300])
def test_any_beta_on_any_finite_map_is_finite(beta):
    largest = np.finfo(np.float32).max
    heatmaps = np.array([[[[largest, -largest], [0, 1]], [[1, 1], [1, 1]]]], dtype=np.float32)
    xy, scores = decode(heatmaps, beta=beta)
    assert np.isfinite(xy).all() and np.isfinite(scores).all()
    np.testing.assert_array_equal(xy[0, 1], [0.5, 0.5])
    if beta:
        np.testing.assert_array_equal(xy[0, 0], [0, 0])


@pytest.mark.parametrize("beta", [-1, math.nan, math.inf, "160"])
def test_beta_out_of_range(beta):
    with pytest.raises(InvalidInputError, match="beta"):
        decode(np.zeros((1, 1, 4, 4)), beta=beta)


@pytest.mark.parametrize("value", [0, 0.7, -3])
def test_constant_map(value):
    heatmaps = np.full((1, 2, 5, 9), value, dtype=np.float32)
    xy, scores = decode(heatmaps)
    np.testing.assert_allclose(xy, np.broadcast_to([4, 2], (1, 2, 2)), atol=1e-6)
    np.testing.assert_array_equal(scores, heatmaps[:, :, 0, 0])
    xy, scores = decode(heatmaps, "quarter-offset")
    np.testing.assert_array_equal(xy, 0)
    np.testing.assert_array_equal(scores, heatmaps[:, :, 0, 0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("blur", [None, 1.0])
def test_nobody(method, blur):
    xy, scores = decode(np.zeros((0, 17, 64, 48), dtype=np.float32), method, blur=blur)
    assert xy.shape == (0, 17, 2) and scores.shape == (0, 17)
    assert xy.dtype == scores.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("blur", [None, 1.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_values_are_refused(method, blur, bad):
    heatmaps = np.zeros((2, 3, 8, 8), dtype=np.float32)
    heatmaps[1, 2, 4, 5] = bad
    with pytest.raises(InvalidInputError, match="NaN or infinity"):
        decode(heatmaps, method, blur=blur)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 0, 8), (1, 1, 8, 0), (1, 1, 1, 8, 8)])
def test_wrong_shape_is_quoted(shape):
    with pytest.raises(InvalidInputError) as error:
        decode(np.zeros(shape))
    assert str(shape) in str(error.value)


def test_unknown_method_lists_the_known():
    with pytest.raises(InvalidInputError, match="soft-argmax, quarter-offset"):
        decode(np.zeros((1, 1, 4, 4)), "argmax")


CENTRES = np.random.default_rng(0).uniform([8, 8], [40, 56], (200, 2))


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"beta": 20}, 0.05),
        ({"beta": 160}, 0.5),  # softmax(160·H) of a unit peak is far narrower than a pixel
        ({"method": "quarter-offset"}, 0.25),
        ({"method": "quarter-offset", "blur": 1.0}, 0.25),
    ],
)
def test_recovers_the_centre_of_a_gaussian(options, tolerance):
    xy, scores = decode(gaussian(CENTRES), **options)
    assert np.abs(xy[:, 0] - CENTRES).max() <= tolerance + 1e-4
    assert scores.min() > 0.93


@settings(max_examples=60, deadline=None)
@given(
    heatmaps=npst.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32, allow_subnormal=False)),
    sigma=st.floats(0.3, 3),
)
def test_blur_is_scipys_up_to_a_factor(heatmaps, sigma):
    maps, top, gain = gaussian_blur(heatmaps, heatmaps.max(axis=(2, 3)), sigma)
    np.testing.assert_array_equal(top, maps.max(axis=(2, 3)))
    blurred = maps * gain[:, :, None, None]
    radius = math.ceil(3 * sigma)
    expected = gaussian_filter(heatmaps.astype(np.float64), sigma, mode="reflect", truncate=radius / sigma, axes=(2, 3))
    before, after = heatmaps.max(axis=(2, 3)), expected.max(axis=(2, 3))
    factor = np.divide(before, after, out=np.ones_like(after), where=after > 0)[:, :, None, None]
    assert blurred.dtype == np.float32
    np.testing.assert_allclose(blurred, expected * factor, atol=1e-5)
    np.testing.assert_allclose(blurred.max(axis=(2, 3)), before, atol=1e-6)


def test_blur_joins_a_split_peak():
    heatmaps = np.zeros((1, 1, 16, 16), dtype=np.float32)
    heatmaps[0, 0, 8, [6, 8]] = 1
    xy, scores = decode(heatmaps, "quarter-offset", blur=2.0)
    np.testing.assert_array_equal(xy[0, 0], [7, 8])
    np.testing.assert_allclose(scores, 1, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0, -1, 32.01, 1e9, math.nan, math.inf, "1", [1.0]])
def test_blur_out_of_range(sigma):
    """A kernel of 1e9 pixels would take all memory."""
    with pytest.raises(InvalidInputError, match="blur must be a standard deviation above 0 and at most 32"):
        decode(np.zeros((1, 1, 4, 4)), blur=sigma)

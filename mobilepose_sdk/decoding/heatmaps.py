"""Heatmaps to keypoint coordinates, vectorised over people and keypoints."""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.options import number

Array = NDArray[Any]
Method = Literal["soft-argmax", "quarter-offset"]
METHODS: tuple[Method, ...] = get_args(Method)
LARGEST_BLUR = 32.0
"""Heatmap pixels; a wider Gaussian leaves nothing of a heatmap's shape."""
BLUR_BAND = 16
"""Heatmap pixels that are blurred by one product: fewer reach less far, more are fewer calls."""
NEGLIGIBLE = 20.0
"""A pixel whose exponent is this far below the maximum's weighs less than 3e-9 of it in the soft-argmax."""


def decode(
    heatmaps: Array, method: Method = "soft-argmax", beta: float = 160.0, blur: float | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Locate one keypoint in every heatmap.

    Args:
        heatmaps: (N, K, H, W) float.
        method: ``"soft-argmax"`` is β-soft-argmax (LPN §3.4, eq. 7): the expectation of the position under
            softmax(β·H), scored by the heatmap at the rounded position. ``"quarter-offset"`` is the maximum, moved a
            quarter pixel towards its higher neighbour on each axis, scored by the maximum.
        beta: sharpness of the soft-argmax; LPN uses 160.
        blur: standard deviation, in heatmap pixels, of a Gaussian applied first (SLBNet §IV-A), at most
            :data:`LARGEST_BLUR`; none when omitted.

    Returns:
        xy (N, K, 2) float32 in heatmap pixels and scores (N, K) float32. Positions are never clipped or zeroed.

    Raises:
        InvalidInputError: the array is not (N, K, H, W), has an empty map, holds NaN or infinity, or an option is out
            of range.
    """
    heatmaps = np.asarray(heatmaps, dtype=np.float32)
    if heatmaps.ndim != 4 or 0 in heatmaps.shape[2:]:
        raise InvalidInputError(f"heatmaps must be (N, K, H, W) with H, W > 0, got shape {heatmaps.shape}")
    top = heatmaps.max(axis=(2, 3))
    if not (np.isfinite(top).all() and np.isfinite(heatmaps.min(initial=0))):
        raise InvalidInputError("heatmaps hold NaN or infinity: the model's weights or its input are broken")
    gain = np.ones_like(top)
    if blur is not None:
        heatmaps, top, gain = gaussian_blur(heatmaps, top, blur)
    if method == "soft-argmax":
        return _soft_argmax(heatmaps, top, gain, beta)
    if method == "quarter-offset":
        return _quarter_offset(heatmaps, top * gain)
    raise InvalidInputError(f"unknown decoder {method!r}; accepted: {', '.join(METHODS)}")


def _soft_argmax(
    heatmaps: Array, top: Array, gain: Array, beta: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of maps whose maxima are ``top`` (N, K), and which mean ``gain`` (N, K) times what they hold."""
    beta = number("beta", beta)
    n, k, height, width = heatmaps.shape
    # As float32 a huge beta is infinite; times a difference of 0 that is NaN, as 0 is times an infinite difference.
    limits = np.finfo(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        sharpness = np.clip(beta * gain.astype(np.float64), limits.tiny, limits.max)
        least = (top - NEGLIGIBLE / sharpness).astype(np.float32).reshape(-1, 1)
    maps, peaks = heatmaps.reshape(n * k, height * width), top.ravel()
    # Of three thousand pixels a few dozen count, and each array of all of them that is not made is time saved.
    places = np.flatnonzero(maps >= least)
    owner, row, column = np.unravel_index(places, (n * k, height, width))
    weights = np.exp((maps.ravel()[places].astype(np.float64) - peaks[owner]) * sharpness.ravel()[owner])
    total, x, y = (np.bincount(owner, values, n * k) for values in (weights, weights * column, weights * row))
    xy = (np.stack([x, y], axis=1) / total[:, None]).astype(np.float32).reshape(n, k, 2)
    column, row = np.rint(xy).astype(np.intp).transpose(2, 0, 1)
    return xy, heatmaps[np.arange(n)[:, None], np.arange(k), row, column] * gain


def _quarter_offset(heatmaps: Array, peak: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    n, k, height, width = heatmaps.shape
    row, column = np.divmod(heatmaps.reshape(n, k, height * width).argmax(axis=2), width)
    xy = np.stack([column, row], axis=2).astype(np.float32)
    inside = (column > 1) & (column < width - 1) & (row > 1) & (row < height - 1)
    person, keypoint = np.nonzero(inside)
    y, x = row[inside], column[inside]
    slope_x = heatmaps[person, keypoint, y, x + 1] - heatmaps[person, keypoint, y, x - 1]
    slope_y = heatmaps[person, keypoint, y + 1, x] - heatmaps[person, keypoint, y - 1, x]
    xy[inside] += 0.25 * np.sign(np.stack([slope_x, slope_y], axis=1))
    return xy, peak


def gaussian_blur(heatmaps: Array, top: Array, sigma: float) -> tuple[Array, Array, Array]:
    """Maps (N, K, H, W) blurred, mirrored at the border, up to three standard deviations away.

    Returns:
        the maps, their maxima (N, K), and what to multiply each with so that its maximum is ``top`` (N, K) again and
        scores stay comparable; 1 where either maximum is not above 0.

    Raises:
        InvalidInputError: ``sigma`` is not a number above 0 and at most :data:`LARGEST_BLUR`.
    """
    if not (isinstance(sigma, Real) and not isinstance(sigma, bool) and 0 < sigma <= LARGEST_BLUR):
        raise InvalidInputError(
            f"blur must be a standard deviation above 0 and at most {LARGEST_BLUR:g} heatmap pixels, got {sigma!r}"
        )
    height, width = heatmaps.shape[2:]
    # Map by map: one large product would use BLAS' threads, which go on spinning beside the next picture's network.
    rows, maps = np.empty_like(heatmaps), np.empty_like(heatmaps)
    for band, reach, kernels in _blur_bands(height, sigma):
        np.matmul(kernels.T, heatmaps[:, :, reach], out=rows[:, :, band])
    for band, reach, kernels in _blur_bands(width, sigma):
        np.matmul(rows[:, :, :, reach], kernels, out=maps[:, :, :, band])
    after = maps.max(axis=(2, 3))
    return maps, after, np.divide(top, after, out=np.ones_like(after), where=(after > 0) & (top > 0))


@lru_cache(maxsize=16)
def _blur_bands(size: int, sigma: float) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """What :data:`BLUR_BAND` pixels in a row come from: which they are, which reach them, and those' shares of each.

    Most of the whole matrix is zeros.
    """
    matrix = _blur_matrix(size, sigma)
    bands = []
    for first in range(0, size, BLUR_BAND):
        band = slice(first, min(first + BLUR_BAND, size))
        reaching = np.flatnonzero(matrix[:, band].any(axis=1))
        reach = slice(int(reaching[0]), int(reaching[-1]) + 1)
        bands.append((band, reach, np.ascontiguousarray(matrix[reach, band])))
    return bands


def _blur_matrix(size: int, sigma: float) -> NDArray[np.float32]:
    """(size, size) symmetric matrix whose rows and columns are Gaussian kernels, reflected at both ends."""
    radius = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    matrix = np.zeros((size, size))
    for target in range(size):
        source = np.arange(target - radius, target + radius + 1) % (2 * size)
        np.add.at(matrix[target], np.minimum(source, 2 * size - 1 - source), kernel / kernel.sum())
    return matrix.astype(np.float32)

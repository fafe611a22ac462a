"""Remove poses that describe the same person: OKS non-maximum suppression.

A top-down pipeline finds one pose a box, so two boxes on one person give two poses. Boxes of people who embrace overlap
as much; their poses do not. So poses are compared by object keypoint similarity (OKS).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.skeleton import COCO_17

Array = NDArray[Any]
Method = Literal["parallel", "soft", "hard"]
METHODS: tuple[Method, ...] = get_args(Method)

KEYPOINT_THRESHOLD = 0.1
"""A keypoint counts when its score is above this (MobilePoseNet, Algorithm 1, line 1)."""

CACHED = 1 << 13
"""Numbers per array that are worked on at a time."""


def oks_nms(
    keypoints: Array,
    keypoint_scores: Array,
    scores: Array,
    areas: Array,
    *,
    method: Method = "parallel",
    threshold: float = 0.9,
    sigmas: Sequence[float] = COCO_17.sigmas,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Lower the scores of redundant poses and drop the most redundant.

    Poses are ranked by their confidence (MobilePoseNet §3.3, eq. 6-7): the mean of the keypoint scores above
    :data:`KEYPOINT_THRESHOLD` times ``scores``. A pose is only ever suppressed by poses that rank above it, and ends
    with a decay factor of 0 to 1. What is returned is ``scores``, not the confidence, times that factor: a pose that
    overlaps no other keeps the score it came with, whatever the method.

    Args:
        keypoints: (N, K, 2) float, pixels.
        keypoint_scores: (N, K) float.
        scores: (N,) float, the people's scores (the box score of eq. 6).
        areas: (N,) float of at least 0, the areas of the people's boxes in square pixels.
        method: ``"parallel"`` is Algorithm 1: decay = min over higher-ranked i of (1 - OKS(i, j)) / (1 - max OKS of i
            with those above it), in one matrix operation. ``"soft"`` is greedy with linear rescoring: the best
            remaining pose multiplies the other remaining ones by 1 - OKS. ``"hard"`` is greedy: a pose too like a kept,
            higher-ranked pose is dropped; the others keep their scores.
        threshold: redundancy, 0 to 1, above which a pose is dropped. In ``"hard"`` redundancy is the OKS with a kept
            pose; in ``"soft"`` and ``"parallel"`` it is the share of its score that a pose lost. For two poses these
            are the same number, so one value suits all methods. At 1 every pose is kept.
        sigmas: (K,) OKS standard deviations.

    Returns:
        order (M,) intp, indices of the kept poses, and their new scores (M,) float32, highest first; equal scores are
        in order of index. No score is higher than the one given. Equal confidences are ranked by what the poses hold
        (area, keypoints) and only then by index, so that a permuted input has the same poses kept.

    Raises:
        InvalidInputError: shapes do not match, a value is NaN or infinite, an area is negative, a sigma is not above 0,
            or an option is out of range.
    """
    if method not in METHODS:
        raise InvalidInputError(f"unknown NMS method {method!r}; accepted: {', '.join(METHODS)}")
    if not 0 <= threshold <= 1:
        raise InvalidInputError(f"threshold must be a redundancy from 0 to 1, got {threshold!r}")
    oks = oks_matrix(keypoints, keypoint_scores, areas, sigmas=sigmas)
    n = len(oks)
    scores = _finite("scores", scores, (n,))
    if n == 0:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.float32)
    keypoint_scores = np.asarray(keypoint_scores, dtype=np.float32)
    confidence = _confidence(keypoint_scores, scores)
    rank = _rank(confidence, areas, keypoints, keypoint_scores)
    decay, kept = _SUPPRESS[method](oks.take(rank, 0).take(rank, 1), confidence[rank], threshold)
    # The minimum keeps a score that is already negative from rising towards 0.
    rescored = np.minimum(scores[rank] * decay, scores[rank])
    order, rescored = rank[kept], rescored[kept]
    best_first = np.lexsort((order, -rescored))
    return order[best_first], rescored[best_first]


def oks_matrix(
    keypoints: Array,
    keypoint_scores: Array,
    areas: Array,
    *,
    sigmas: Sequence[float] = COCO_17.sigmas,
    keypoint_threshold: float = KEYPOINT_THRESHOLD,
) -> NDArray[np.float32]:
    """Object keypoint similarity of every pair of poses (MobilePoseNet eq. 9, with COCO's sigmas).

    OKS(i, j) = mean over k of exp(-d_k² / (2·s_i·s_j·(2σ_k)²)), over the keypoints above ``keypoint_threshold`` in both
    poses, where d is the distance in pixels and s = √area. (Eq. 9 as printed has areas in place of s, and no σ.)

    Args:
        keypoints: (N, K, 2) float, pixels.
        keypoint_scores: (N, K) float.
        areas: (N,) float of at least 0, square pixels.
        sigmas: (K,) OKS standard deviations.
        keypoint_threshold: keypoints scored at or below it are left out.

    Returns:
        (N, N) float32, symmetric, 0 to 1. A pair with no keypoint in common has OKS 0; so does a pose without keypoints
        with itself.

    Raises:
        InvalidInputError: shapes do not match, a value is NaN or infinite, an area is negative or a sigma is not above
            0.
    """
    shape = np.shape(keypoints)
    if len(shape) != 3 or shape[2] != 2:
        raise InvalidInputError(f"keypoints must be (N, K, 2), got shape {shape}")
    n, k, _ = shape
    keypoints = _finite("keypoints", keypoints, shape)
    visible = _finite("keypoint_scores", keypoint_scores, (n, k)) > keypoint_threshold
    areas = _finite("areas", areas, (n,))
    spread = 2 * np.sqrt(2) * _finite("sigmas", sigmas, (k,))
    if n and areas.min() < 0:
        raise InvalidInputError(f"areas must be at least 0, got {areas.min()}")
    if k and spread.min() <= 0:
        raise InvalidInputError(f"sigmas must be above 0, got {sigmas!r}")
    side = np.sqrt(areas)
    # Poses without an area are alike only where they coincide: a tiny scale says so without dividing by zero.
    scale = np.maximum(side[:, None] * side, np.finfo(np.float32).tiny)
    weights, total = visible.astype(np.float32), np.zeros((n, n), np.float32)
    with np.errstate(over="ignore", under="ignore"):
        x, y = np.ascontiguousarray((keypoints / spread[:, None]).transpose(2, 1, 0))
        # As many keypoints at a time as stay in the cache, and in place: memory costs more than the arithmetic.
        step = max(1, CACHED // max(n * n, 1))
        for first in range(0, k, step):
            part = slice(first, first + step)
            similarity = x[part, :, None] - x[part, None]
            similarity *= similarity
            vertical = y[part, :, None] - y[part, None]
            vertical *= vertical
            similarity += vertical
            similarity /= -scale
            np.exp(similarity, out=similarity)
            similarity *= visible.T[part, :, None] & visible.T[part, None]
            total += np.add.reduce(similarity, axis=0)
        return np.asarray(total / np.maximum(weights @ weights.T, 1), dtype=np.float32)


def _confidence(keypoint_scores: Array, scores: Array) -> NDArray[np.float64]:
    """(N,) pose confidence (MobilePoseNet eq. 6-7); 0 for a pose without a keypoint above the threshold."""
    visible = keypoint_scores > KEYPOINT_THRESHOLD
    total = np.add.reduce(keypoint_scores * visible, axis=1, dtype=np.float64)
    return np.asarray(total / np.maximum(np.add.reduce(visible, axis=1), 1) * scores)


def _rank(confidence: Array, areas: Array, keypoints: Array, keypoint_scores: Array) -> NDArray[np.intp]:
    """(N,) indices, highest confidence first; ties by content."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    if not (ranked[1:] == ranked[:-1]).any():
        return order
    content = np.concatenate([np.reshape(keypoints, (len(order), -1)), keypoint_scores], axis=1)
    return np.lexsort((*content.T, -np.asarray(areas), -confidence))


# Each takes ranked poses, OKS (N, N) and confidence (N,), and gives their decay (N,) and which are kept (N,).


def _parallel(oks: Array, confidence: Array, threshold: float) -> tuple[Array, Array]:
    # In place, and with the ufuncs' own reductions: their wrappers cost as much as the arithmetic of 20 poses.
    n = len(oks)
    free = oks * _above(-(-n // 64) * 64)[:n, :n]
    np.subtract(1, free, out=free)
    compensation = np.minimum.reduce(free, axis=0)
    copies = compensation <= 0
    if copies.any():
        # A copy of a higher-ranked pose has nothing left to suppress others with: its original does so already.
        free[copies] = compensation[copies] = 1
    free /= compensation[:, None]
    decay = np.minimum.reduce(free, axis=0)
    return decay, 1 - decay <= threshold


@lru_cache(maxsize=4)
def _above(n: int) -> NDArray[np.float32]:
    """(n, n) 1 where the row ranks above the column, else 0."""
    above = np.triu(np.ones((n, n), np.float32), 1)
    above.flags.writeable = False
    return above


def _soft(oks: Array, confidence: Array, threshold: float) -> tuple[Array, Array]:
    decay = np.ones(len(oks), dtype=oks.dtype)
    kept = np.zeros(len(decay), dtype=bool)
    remaining = np.arange(len(decay))
    while remaining.size:
        best = (confidence * decay)[remaining].argmax()
        chosen = remaining[best]
        kept[chosen] = True
        remaining = np.delete(remaining, best)
        decay[remaining] *= 1 - oks[chosen, remaining]
        remaining = remaining[1 - decay[remaining] <= threshold]
    return decay, kept


def _hard(oks: Array, confidence: Array, threshold: float) -> tuple[Array, Array]:
    kept = np.ones(len(oks), dtype=bool)
    for index in range(len(oks)):
        if kept[index]:
            kept[index + 1 :] &= oks[index, index + 1 :] <= threshold
    return np.ones(len(oks), dtype=oks.dtype), kept


_SUPPRESS = {"parallel": _parallel, "soft": _soft, "hard": _hard}


def _finite(name: str, values: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        array = np.asarray(values, dtype=np.float32)
    if array.shape != shape:
        raise InvalidInputError(f"{name} must have shape {shape} to match the keypoints, got {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInputError(f"{name} hold NaN or infinity: only finite numbers are accepted")
    return array

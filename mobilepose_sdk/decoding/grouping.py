"""Heatmaps and tag maps to people: associative-embedding grouping.

A bottom-up network finds every keypoint in the picture at once and gives each pixel a tag; keypoints of one person have
like tags (EfficientHRNet §3.2; Newell et al., "Associative Embedding"). The steps, their order and their rounding are
those of the HigherHRNet family's parser, so that published checkpoints score what they were published with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError
from mobilepose_sdk.opencv import cv2

Array = NDArray[Any]

COCO_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
"""People are grown from the head to the trunk to the limbs: early keypoints decide who there is."""

PEAK_SIZE = 5
"""A peak is the maximum of a square of this many pixels."""

NO_PERSON = 1e10
"""Cost of starting a new person: more than any tag distance."""


def group(
    heatmaps: Array,
    tags: Array,
    *,
    max_people: int = 30,
    detection_threshold: float = 0.1,
    tag_threshold: float = 1.0,
    adjust: bool = True,
    refine: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find people in one picture's heatmaps.

    Coordinates follow the parser this equals, not the SDK: a peak at pixel (column, row) is returned as (column + 0.5,
    row + 0.5), moved a quarter pixel towards the higher neighbour on each axis (towards 0 when both are equal; beyond a
    border the peak itself stands in). Subtract 0.5 from found keypoints to have the SDK's convention, where an integer
    is the centre of a map pixel. With ``adjust=False`` peaks are bare integers, and only the keypoints that ``refine``
    added carry the 0.5 and the quarter.

    1. A keypoint's candidates are the maxima of 5 × 5 squares, the best ``max_people`` of those above
       ``detection_threshold``.
    2. Keypoint by keypoint (:data:`COCO_ORDER` for 17 keypoints, else as numbered) candidates are assigned to the
       people so far by least total cost, round(tag distance)·100 - score.
    3. A candidate joins its person when their tags (the person's is the mean of its keypoints') are nearer than
       ``tag_threshold``; otherwise it starts a person.

    Args:
        heatmaps: (K, H, W) float.
        tags: (K, H, W, T) float; T is 1, 2 with a flipped picture's tags, or more with several scales.
        max_people: candidates a keypoint, and how many people, the first found, later keypoints may join. Not a limit
            on the result: candidates that fit nobody start people beyond it.
        detection_threshold: heatmap value of at least 0 that a candidate must exceed.
        tag_threshold: distance between tags below which they belong to one person.
        adjust: move peaks by the quarter pixel.
        refine: give a person's missing keypoints the pixel of the highest heatmap - round(|tag - person's tag|), where
            the heatmap is above 0 there.

    Returns:
        xy (N, K, 2) float32 in map pixels and scores (N, K) float32, the heatmap values; people in the order they were
        started. A keypoint that was not found is at (0, 0) with score 0: unlike elsewhere in the SDK, position 0 means
        absent, and only the score tells.

    Raises:
        InvalidInputError: shapes do not match or are empty, a value is NaN or infinite, or an option is out of range.
        MissingDependencyError: SciPy is not installed.
    """
    heatmaps, tags = _checked(heatmaps, tags)
    if max_people < 1 or not 0 <= detection_threshold < np.inf or not 0 <= tag_threshold < np.inf:
        raise InvalidInputError(
            "max_people must be at least 1 and both thresholds finite and at least 0, got "
            f"max_people={max_people!r}, detection_threshold={detection_threshold!r}, tag_threshold={tag_threshold!r}"
        )
    k, height, width = heatmaps.shape
    flat_maps, flat_tags = heatmaps.reshape(k, -1), tags.reshape(k, height * width, -1)
    candidates = [_candidates(heatmap, max_people, detection_threshold) for heatmap in heatmaps]
    pixels = _match(flat_maps, flat_tags, candidates, max_people, tag_threshold)
    found = pixels >= 0
    xy = np.zeros((len(pixels), k, 2), dtype=np.float32)
    if adjust:
        xy[found] = _quarter_offset(heatmaps, np.nonzero(found)[1], pixels[found])
    else:
        xy[found] = np.stack([pixels[found] % width, pixels[found] // width], axis=1)
    if refine:
        pixels = _fill(flat_maps, flat_tags, pixels)
        added = (pixels >= 0) & ~found
        xy[added] = _quarter_offset(heatmaps, np.nonzero(added)[1], pixels[added])
    scores = np.where(pixels >= 0, flat_maps[np.arange(k), pixels], np.float32(0))
    return xy, scores


def _checked(heatmaps: Array, tags: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with np.errstate(over="ignore"):
        heatmaps = np.ascontiguousarray(heatmaps, dtype=np.float32)
        tags = np.ascontiguousarray(tags, dtype=np.float32)
    if heatmaps.ndim != 3 or heatmaps.size == 0:
        raise InvalidInputError(f"heatmaps must be (K, H, W) with K, H, W > 0, got shape {heatmaps.shape}")
    if tags.ndim != 4 or tags.shape[:3] != heatmaps.shape or tags.size == 0:
        raise InvalidInputError(f"tags must be {(*heatmaps.shape, 'T')} with T > 0, got shape {tags.shape}")
    for name, array in (("heatmaps", heatmaps), ("tags", tags)):
        if not np.isfinite([array.min(), array.max()]).all():
            raise InvalidInputError(f"{name} hold NaN or infinity: the model's weights or its input are broken")
    return heatmaps, tags


def _candidates(heatmap: Array, limit: int, threshold: float) -> NDArray[np.intp]:
    """Flat indices of a map's highest peaks, best first, ties by index."""
    # OpenCV's border for dilation is -inf, so a border pixel can be a peak.
    peaks = heatmap == cv2.dilate(heatmap, np.ones((PEAK_SIZE, PEAK_SIZE), dtype=np.uint8))
    pixels = np.flatnonzero(peaks & (heatmap >= np.float32(threshold)))
    # In double precision: 0.1 as float32 is above 0.1.
    values = heatmap.reshape(-1)[pixels].astype(np.float64)
    pixels, values = pixels[values > threshold], values[values > threshold]
    return pixels[np.argsort(-values, kind="stable")[:limit]]


@dataclass
class _Person:
    pixels: NDArray[np.intp]
    """(K,) flat index of each keypoint's pixel, -1 where there is none."""
    tags: list[Array]

    def tag(self) -> NDArray[np.float32]:
        return np.asarray(np.mean(self.tags, axis=0), dtype=np.float32)


def _match(
    heatmaps: Array, tags: Array, candidates: list[NDArray[np.intp]], max_people: int, tag_threshold: float
) -> NDArray[np.intp]:
    """(N, K) flat index of each person's keypoints, -1 where missing."""
    k = len(heatmaps)
    # People are known by the tag that started them: a second start with the same tag replaces the first's keypoint.
    people: dict[float, _Person] = {}
    for keypoint in COCO_ORDER if k == len(COCO_ORDER) else range(k):
        pixels = candidates[keypoint]
        if not len(pixels):
            continue
        own_tags = tags[keypoint, pixels]
        earlier = list(people.values())[:max_people]
        owners = _assign(own_tags, heatmaps[keypoint, pixels], earlier, tag_threshold)
        for pixel, tag, owner in zip(pixels, own_tags, owners, strict=True):
            if owner >= 0:
                person = earlier[owner]
                person.tags.append(tag)
            else:
                person = people.setdefault(float(tag[0]), _Person(np.full(k, -1, dtype=np.intp), []))
                person.tags = [tag]
            person.pixels[keypoint] = pixel
    return np.array([person.pixels for person in people.values()], dtype=np.intp).reshape(-1, k)


def import_assignment() -> Callable[[Array], tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """SciPy's ``linear_sum_assignment``. Whoever groups later calls this first: its import takes most of a second.

    Raises:
        MissingDependencyError: SciPy is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingDependencyError("bottom-up models need SciPy: pip install 'mobilepose-sdk[bottom-up]'") from error
    solve: Callable[[Array], tuple[NDArray[np.intp], NDArray[np.intp]]] = linear_sum_assignment
    return solve


def _assign(tags: Array, values: Array, people: list[_Person], tag_threshold: float) -> NDArray[np.intp]:
    """(M,) the person each candidate joins, -1 for none; candidates have tags (M, T) and heatmap values (M,)."""
    if not people:
        return np.full(len(tags), -1, dtype=np.intp)
    linear_sum_assignment = import_assignment()
    offset = tags.astype(np.float64)[:, None] - np.array([person.tag() for person in people])
    distance = np.linalg.norm(offset, axis=2)
    cost = np.round(distance) * 100 - values[:, None]
    strangers = max(len(tags) - len(people), 0)
    cost = np.concatenate([cost, np.full((len(tags), strangers), NO_PERSON)], axis=1)
    row, column = linear_sum_assignment(cost)
    near = np.concatenate([distance < tag_threshold, np.zeros((len(tags), strangers), dtype=bool)], axis=1)
    return np.where(near[row, column], column, -1)


def _quarter_offset(heatmaps: Array, keypoint: Array, pixel: Array) -> NDArray[np.float32]:
    """(M, 2) positions of M peaks, given by keypoint and flat index, as documented in :func:`group`."""
    _, height, width = heatmaps.shape
    row, column = np.divmod(pixel, width)
    right = heatmaps[keypoint, row, np.minimum(column + 1, width - 1)]
    left = heatmaps[keypoint, row, np.maximum(column - 1, 0)]
    below = heatmaps[keypoint, np.minimum(row + 1, height - 1), column]
    above = heatmaps[keypoint, np.maximum(row - 1, 0), column]
    x = column + np.where(right > left, 0.75, 0.25)
    y = row + np.where(below > above, 0.75, 0.25)
    return np.stack([x, y], axis=1).astype(np.float32)


def _fill(heatmaps: Array, tags: Array, pixels: NDArray[np.intp]) -> NDArray[np.intp]:
    """(N, K) pixels with the missing ones filled from the tag maps, where the heatmap is above 0."""
    filled: NDArray[np.intp] = pixels.copy()
    person_tags = np.zeros((len(pixels), tags.shape[2]), dtype=np.float32)
    for person, own in enumerate(pixels):
        known = np.flatnonzero(own >= 0)
        person_tags[person] = np.mean(tags[known, own[known]], axis=0)
    for keypoint in np.flatnonzero((pixels < 0).any(axis=0)):
        people = np.flatnonzero(pixels[:, keypoint] < 0)
        best = _best_pixels(heatmaps[keypoint], tags[keypoint], person_tags[people])
        filled[people, keypoint] = np.where(heatmaps[keypoint, best] > 0, best, -1)
    return filled


def _best_pixels(heatmap: Array, tags: Array, centres: Array) -> NDArray[np.intp]:
    """(M,) pixel of a map (P,) with the highest heatmap - round(|tag - centre|), for tags (P, T) and centres (M, T)."""
    # No dark pixel beats a bright one that is at least as good as the cut, so most people need a tenth of the map.
    sample = heatmap[::17]
    rank = len(sample) * 9 // 10
    cut = np.partition(sample, rank)[rank]
    bright = np.flatnonzero(heatmap >= cut)
    gain = _gain(heatmap[bright], tags[bright], centres)
    best = bright[gain.argmax(axis=1)]
    unsure = gain.max(axis=1) < cut
    if unsure.any():
        best[unsure] = _gain(heatmap, tags, centres[unsure]).argmax(axis=1)
    return np.asarray(best, dtype=np.intp)


def _gain(heatmap: Array, tags: Array, centres: Array) -> NDArray[np.float32]:
    """(M, P) heatmap - round(|tag - centre|)."""
    squared = np.zeros((len(centres), len(heatmap)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for plane, centre in zip(tags.T, centres.T, strict=True):
            offset = plane - centre[:, None]
            squared += np.multiply(offset, offset, out=offset)
    distance = np.sqrt(squared, out=squared)
    return np.subtract(heatmap, np.rint(distance, out=distance), out=distance)

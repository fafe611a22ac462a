"""Associative-embedding grouping: drawn people are found again, and random maps agree with a plain restatement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mobilepose_sdk.decoding.grouping import COCO_ORDER, group
from mobilepose_sdk.errors import InvalidInputError

pytestmark = pytest.mark.filterwarnings("error")

K = 17


# -- The oracle: one image, one keypoint, one candidate at a time. ----------------------------------------------------


def oracle(heatmaps, tags, max_people=30, detection_threshold=0.1, tag_threshold=1.0, adjust=True, refine=True):
    k, height, width = heatmaps.shape
    keys: list[float] = []
    joints: dict[float, dict[int, tuple[int, int]]] = {}
    history: dict[float, list[np.ndarray]] = {}
    for joint in COCO_ORDER if k == 17 else range(k):
        peaks = find_peaks(heatmaps[joint], detection_threshold)[:max_people]
        if not peaks:
            continue
        earlier = keys[:max_people]
        owner = dict.fromkeys(range(len(peaks)))
        if earlier:
            cost = np.full((len(peaks), max(len(peaks), len(earlier))), 1e10)
            distances = np.zeros((len(peaks), len(earlier)))
            for i, (y, x) in enumerate(peaks):
                for j, key in enumerate(earlier):
                    mean = np.mean(history[key], axis=0).astype(np.float64)
                    distances[i, j] = np.sqrt(((tags[joint, y, x].astype(np.float64) - mean) ** 2).sum())
                    cost[i, j] = np.round(distances[i, j]) * 100 - float(heatmaps[joint, y, x])
            for i, j in zip(*linear_sum_assignment(cost), strict=True):
                if j < len(earlier) and distances[i, j] < tag_threshold:
                    owner[i] = earlier[j]
        for i, (y, x) in enumerate(peaks):
            key = owner[i]
            if key is None:
                key = float(tags[joint, y, x, 0])
                if key not in joints:
                    keys.append(key)
                    joints[key] = {}
                history[key] = []
            joints[key][joint] = (y, x)
            history[key].append(tags[joint, y, x])
    xy, scores = np.zeros((len(keys), k, 2), np.float32), np.zeros((len(keys), k), np.float32)
    for n, key in enumerate(keys):
        mean = np.mean([tags[joint, y, x] for joint, (y, x) in sorted(joints[key].items())], axis=0)
        for joint in range(k):
            if joint in joints[key]:
                y, x = joints[key][joint]
                xy[n, joint] = shifted(heatmaps[joint], y, x) if adjust else (x, y)
                scores[n, joint] = heatmaps[joint, y, x]
            elif refine:
                distance = ((tags[joint] - mean) ** 2).sum(axis=2) ** 0.5
                y, x = np.unravel_index(np.argmax(heatmaps[joint] - np.round(distance)), (height, width))
                if heatmaps[joint, y, x] > 0:
                    xy[n, joint], scores[n, joint] = shifted(heatmaps[joint], y, x), heatmaps[joint, y, x]
    return xy, scores


def find_peaks(heatmap, threshold):
    height, width = heatmap.shape
    peaks = []
    for y, x in np.ndindex(height, width):
        around = heatmap[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        if heatmap[y, x] == around.max() and float(heatmap[y, x]) > threshold:
            peaks.append((y, x))
    return sorted(peaks, key=lambda p: (-heatmap[p], p))


def shifted(heatmap, y, x):
    height, width = heatmap.shape
    right, left = heatmap[y, min(x + 1, width - 1)], heatmap[y, max(x - 1, 0)]
    below, above = heatmap[min(y + 1, height - 1), x], heatmap[max(y - 1, 0), x]
    return x + 0.5 + (0.25 if right > left else -0.25), y + 0.5 + (0.25 if below > above else -0.25)


def assert_equal(got, expected):
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


# -- Drawn people. ----------------------------------------------------------------------------------------------------


def draw_people(count, tag_size=1, size=96, seed=0):
    """Maps, and where each person's keypoints are: (count, K, 2) pixels. Limbs cross at random; peaks do not touch."""
    rng = np.random.default_rng(seed)
    cells = np.array([(x, y) for y in range(6, size - 6, 10) for x in range(6, size - 6, 10)])
    places = np.stack([rng.permutation(cells)[:count] for _ in range(K)], axis=1)
    heatmaps = np.zeros((K, size, size), dtype=np.float32)
    tags = rng.normal(0, 0.05, (K, size, size, tag_size)).astype(np.float32)
    y, x = np.mgrid[:size, :size]
    for person, joint in np.ndindex(count, K):
        column, row = places[person, joint]
        blob = np.exp(-((x - column - 0.1) ** 2 + (y - row - 0.1) ** 2) / 4).astype(np.float32)
        heatmaps[joint] = np.maximum(heatmaps[joint], blob * np.float32(rng.uniform(0.4, 1)))
        near = (abs(x - column) <= 4) & (abs(y - row) <= 4)
        tags[joint][near] = person_tag(person, tag_size) + rng.normal(0, 0.1, (near.sum(), tag_size))
    return heatmaps, tags, places


def person_tag(person, tag_size):
    return 3 * (person + 1) * np.resize([1, -1], tag_size)


def matched(xy, places):
    """Index of each drawn person among the found, by the nose."""
    distance = np.abs(xy[None, :, 0] - places[:, None, 0] - 0.5).max(axis=2)
    assert (distance.min(axis=1) < 1).all()
    return distance.argmin(axis=1)


@pytest.mark.parametrize("tag_size", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_people_with_crossing_limbs_are_told_apart(count, tag_size):
    heatmaps, tags, places = draw_people(count, tag_size, seed=count)
    xy, scores = group(heatmaps, tags)
    assert xy.shape == (count, K, 2) and scores.shape == (count, K)
    assert xy.dtype == scores.dtype == np.float32
    found = matched(xy, places)
    # Drawn a tenth of a pixel right of and below the pixel, so the quarter goes that way; the half is the convention.
    np.testing.assert_array_equal(xy[found], places + 0.75)
    peak = heatmaps[np.arange(K), places[..., 1], places[..., 0]]
    np.testing.assert_array_equal(scores[found], peak)


def test_without_adjust_positions_are_the_peaks():
    heatmaps, tags, places = draw_people(5)
    xy, _ = group(heatmaps, tags, adjust=False)
    np.testing.assert_array_equal(xy[matched(xy, places)], places)


@pytest.mark.parametrize("tag_size", [1, 2])
def test_missing_joints_are_recovered(tag_size):
    heatmaps, tags, places = draw_people(6, tag_size, seed=3)
    weak = [(0, 9), (2, 15), (2, 16), (5, 10)]
    for person, joint in weak:
        column, row = places[person, joint]
        heatmaps[joint, row - 3 : row + 4, column - 3 : column + 4] *= 0.05 / heatmaps[joint, row, column]
    xy, scores = group(heatmaps, tags, refine=False)
    found = matched(xy, places)
    absent = np.zeros((6, K), dtype=bool)
    absent[tuple(zip(*weak, strict=True))] = True
    np.testing.assert_array_equal(scores[found] == 0, absent)
    np.testing.assert_array_equal(xy[found][absent], 0)
    xy, scores = group(heatmaps, tags)
    np.testing.assert_array_equal(xy[found], places + 0.75)
    np.testing.assert_allclose(scores[found][absent], 0.05, rtol=1e-6)
    bare, _ = group(heatmaps, tags, adjust=False)
    np.testing.assert_array_equal(bare[found] - places, np.where(absent, 0.75, 0)[..., None] * [1, 1])


def test_a_joint_without_heat_stays_missing():
    heatmaps, tags, _ = draw_people(3)
    heatmaps[4] = 0
    xy, scores = group(heatmaps, tags)
    np.testing.assert_array_equal(xy[:, 4], 0)
    np.testing.assert_array_equal(scores[:, 4], 0)
    assert (np.delete(scores, 4, axis=1) > 0.1).all()


def test_equal_tags_are_one_person():
    heatmaps, tags, places = draw_people(2)
    tags[:] = 1
    xy, scores = group(heatmaps, tags)
    assert xy.shape == (1, K, 2)
    drawn = heatmaps[np.arange(K), places[..., 1], places[..., 0]]
    # The stronger peak joins the person, then the other starts one with the same tag, and takes the place.
    np.testing.assert_array_equal(scores[0], drawn.min(axis=0))
    np.testing.assert_array_equal(xy[0], places[drawn.argmin(axis=0), np.arange(K)] + 0.75)


def test_mean_tag_follows_a_drifting_person():
    heatmaps, tags, _ = draw_people(1, seed=4)
    for step, joint in enumerate(COCO_ORDER):
        tags[joint] = 0.11 * step
    # The mean lags by half of what the tags drifted, to 0.935 at the end; the first tag is 1.76 away.
    assert len(group(heatmaps, tags)[0]) == 1
    assert len(group(heatmaps, tags, tag_threshold=0.9)[0]) == 2


def test_max_people_limits_the_candidates():
    heatmaps, tags, places = draw_people(9, seed=5)
    xy, scores = group(heatmaps, tags, max_people=4, refine=False)
    assert ((scores > 0).sum(axis=0) <= 4).all()
    assert_equal((xy, scores), oracle(heatmaps, tags, max_people=4, refine=False))
    noses = heatmaps[0, places[:, 0, 1], places[:, 0, 0]]
    np.testing.assert_array_equal(scores[:4, 0], np.sort(noses)[::-1][:4])


def test_detection_threshold_is_exclusive():
    heatmaps, tags = np.zeros((K, 16, 16), dtype=np.float32), np.zeros((K, 16, 16, 1), dtype=np.float32)
    heatmaps[0, 8, 8] = 0.5
    assert group(heatmaps, tags, detection_threshold=0.5)[0].shape == (0, K, 2)
    assert group(heatmaps, tags, detection_threshold=0.49)[0].shape == (1, K, 2)
    heatmaps[0, 8, 8] = 0.1  # as float32, above 0.1 by a hair
    assert len(group(heatmaps, tags)[0]) == 1


@pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 15), (11, 0), (11, 15), (0, 7), (5, 15)])
def test_peaks_at_the_border(y, x):
    heatmaps, tags = np.zeros((1, 12, 16), dtype=np.float32), np.zeros((1, 12, 16, 1), dtype=np.float32)
    heatmaps[0, y, x] = 1
    xy, scores = group(heatmaps, tags)
    # Beyond the border the peak itself is the neighbour, so it pulls only outwards at the far border.
    np.testing.assert_array_equal(xy, [[[x + (0.75 if x == 15 else 0.25), y + (0.75 if y == 11 else 0.25)]]])
    np.testing.assert_array_equal(scores, [[1]])


@pytest.mark.parametrize("level", [0, 0.1, -1])
def test_nobody(level):
    xy, scores = group(np.full((K, 12, 16), level, dtype=np.float64), np.zeros((K, 12, 16, 2)), detection_threshold=0.2)
    assert xy.shape == (0, K, 2) and scores.shape == (0, K)
    assert xy.dtype == scores.dtype == np.float32


# -- Random maps against the oracle. ----------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.sampled_from([1, 3, 17]),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    tag_size=st.integers(1, 3),
    spread=st.sampled_from([0.0, 0.4, 2.0, 20.0]),
    rounded=st.booleans(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "max_people": st.integers(1, 12),
            "detection_threshold": st.sampled_from([0.0, 0.5, 0.9]),
            "tag_threshold": st.sampled_from([0.0, 0.5, 3.0]),
            "adjust": st.booleans(),
            "refine": st.booleans(),
        },
    ),
)
def test_equals_the_oracle_on_random_maps(seed, k, size, tag_size, spread, rounded, options):
    rng = np.random.default_rng(seed)
    heatmaps = rng.uniform(-0.3, 1, (k, *size)).astype(np.float32)
    tags = rng.normal(0, spread, (k, *size, tag_size)).astype(np.float32)
    if rounded:  # equal heats and tags: plateaus, and people started twice
        heatmaps, tags = np.round(heatmaps, 1), np.round(tags * 3) / 3
    assert_equal(group(heatmaps, tags, **options), oracle(heatmaps, tags, **options))


@pytest.mark.parametrize("seed", [210, 533, 567])
def test_among_equal_distances_the_higher_score_joins(seed):
    """Crowds, found by search, that come out otherwise when the cost leaves out the score."""
    rng = np.random.default_rng(seed)
    heatmaps = rng.uniform(-0.3, 1, (K, 16, 16)).astype(np.float32)
    tags = (np.round(rng.normal(0, 2, (K, 16, 16, 2)) * 3) / 3).astype(np.float32)
    assert_equal(group(heatmaps, tags, max_people=5), oracle(heatmaps, tags, max_people=5))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 20), tag_size=st.integers(1, 2), noise=st.floats(0, 1))
def test_equals_the_oracle_on_drawn_people(seed, count, tag_size, noise):
    heatmaps, tags, _ = draw_people(count, tag_size, size=64, seed=seed)
    rng = np.random.default_rng(seed)
    heatmaps *= rng.uniform(0, 1, (K, 1, 1)).astype(np.float32)
    heatmaps += rng.normal(0, 0.02, heatmaps.shape).astype(np.float32)
    tags += rng.normal(0, noise, tags.shape).astype(np.float32)
    assert_equal(group(heatmaps, tags), oracle(heatmaps, tags))


# -- What is refused. -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("everywhere", [True, False])
def test_broken_values_are_refused(which, value, everywhere):
    arrays = [np.zeros((K, 8, 8)), np.zeros((K, 8, 8, 1))]
    arrays[which].flat[slice(None) if everywhere else 77] = value
    with pytest.raises(InvalidInputError, match="NaN or infinity"):
        group(*arrays)


@pytest.mark.parametrize(
    ("heatmaps", "tags"),
    [
        ((1, K, 8, 8), (K, 8, 8, 1)),
        ((K, 8, 8), (K, 8, 8)),
        ((K, 8, 8), (K, 8, 9, 1)),
        ((K, 8, 8), (1, 8, 8, 1)),
        ((K, 8, 8), (K, 8, 8, 0)),
        ((0, 8, 8), (0, 8, 8, 1)),
        ((K, 0, 8), (K, 0, 8, 1)),
    ],
)
def test_wrong_shapes_are_refused(heatmaps, tags):
    with pytest.raises(InvalidInputError, match="got shape"):
        group(np.zeros(heatmaps), np.zeros(tags))


@pytest.mark.parametrize(
    "options",
    [{"max_people": 0}, {"detection_threshold": -0.1}, {"detection_threshold": np.nan}, {"tag_threshold": -1}],
)
def test_options_out_of_range(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        group(np.zeros((K, 8, 8)), np.zeros((K, 8, 8, 1)), **options)

"""OKS-NMS: the formulas, written as loops, and what holds for every method."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mobilepose_sdk.decoding.nms import METHODS, oks_matrix, oks_nms
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.skeleton import COCO_17

pytestmark = pytest.mark.filterwarnings("error")

K = len(COCO_17)
every_method = pytest.mark.parametrize("method", METHODS)


@st.composite
def crowds(draw, max_people=8, ties=True):
    """People near one another, some of them copies, some without keypoints; scores often equal when ``ties``."""
    n = draw(st.integers(0, max_people))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keypoints = rng.uniform(0, 60, (1, K, 2)) + rng.normal(0, draw(st.sampled_from([0.0, 2.0, 8.0, 80.0])), (n, K, 2))
    keypoint_scores = rng.uniform(0, 1, (n, K))
    areas = rng.uniform(0, 8000, n)
    if ties:
        if draw(st.booleans()):
            keypoint_scores[:], areas[:] = 0.7, 4000
        scores = draw(npst.arrays(np.float32, n, elements=st.sampled_from([0, 0.25, 0.5, 1.0])))
        for copy, original in draw(st.lists(st.tuples(*[st.integers(0, max(n - 1, 0))] * 2), max_size=3)) if n else ():
            keypoints[copy], keypoint_scores[copy] = keypoints[original], keypoint_scores[original]
            areas[copy] = areas[original] * draw(st.sampled_from([1, 1, 2]))
    else:
        scores = rng.uniform(0.01, 1, n).astype(np.float32)
    keypoint_scores[rng.random(n) < 0.15] = 0.1
    return keypoints, keypoint_scores, scores, areas


def person(x=0.0, score=1.0, keypoint_score=1.0, area=10000.0):
    layout = np.random.default_rng(7).uniform(0, 100, (K, 2))
    return layout + [x, 0], np.full(K, keypoint_score), score, area


def crowd(*people):
    return tuple(np.array(values) for values in zip(*people, strict=True))


def oks(keypoints, keypoint_scores, areas, i, j):
    terms = []
    for k in range(K):
        if keypoint_scores[i][k] > 0.1 and keypoint_scores[j][k] > 0.1:
            distance = math.dist(keypoints[i][k], keypoints[j][k])
            terms.append(math.exp(-(distance**2) / (2 * math.sqrt(areas[i] * areas[j]) * (2 * COCO_17.sigmas[k]) ** 2)))
    return sum(terms) / len(terms) if terms else 0.0


def confidence(keypoint_scores, score):
    seen = [value for value in keypoint_scores if value > 0.1]
    return float(score) * sum(seen) / len(seen) if seen else 0.0


def suppress(method, keypoints, keypoint_scores, scores, areas, threshold):
    """{index: new score} of the kept, for distinct confidences."""
    n = len(scores)
    trust = [confidence(keypoint_scores[i], scores[i]) for i in range(n)]
    similarity = [[oks(keypoints, keypoint_scores, areas, i, j) for j in range(n)] for i in range(n)]
    ranked = sorted(range(n), key=lambda i: (-trust[i], -scores[i]))
    kept: dict[int, float] = {}
    if method == "hard":
        for j in ranked:
            if all(similarity[i][j] <= threshold for i in kept):
                kept[j] = float(scores[j])
    elif method == "soft":
        decay = dict.fromkeys(ranked, 1.0)
        while decay:
            best = max(decay, key=lambda i: (trust[i] * decay[i], -ranked.index(i)))
            kept[best] = float(scores[best]) * decay.pop(best)
            decay = {j: d * (1 - similarity[best][j]) for j, d in decay.items()}
            decay = {j: d for j, d in decay.items() if 1 - d <= threshold}
    else:
        for place, j in enumerate(ranked):
            factor = 1.0
            for i_place, i in enumerate(ranked[:place]):
                compensation = 1 - max([similarity[above][i] for above in ranked[:i_place]], default=0.0)
                if compensation > 0:
                    factor = min(factor, (1 - similarity[i][j]) / compensation)
            if 1 - factor <= threshold:
                kept[j] = float(scores[j]) * factor
    return kept


@settings(max_examples=80, deadline=None)
@given(crowds())
def test_oks_matrix_is_the_formula(people):
    keypoints, keypoint_scores, _, areas = people
    areas = areas + 1
    matrix = oks_matrix(keypoints, keypoint_scores, areas)
    assert matrix.shape == (len(areas), len(areas)) and matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, matrix.T)
    for i, j in np.ndindex(matrix.shape):
        assert matrix[i, j] == pytest.approx(oks(keypoints, keypoint_scores, areas, i, j), abs=2e-5)


def test_oks_of_a_worked_pair():
    keypoints = np.array([[[0, 0], [50, 50]], [[3, 4], [50, 50]]])
    scores = np.array([[1, 1], [1, 0.1]])
    matrix = oks_matrix(keypoints, scores, np.array([400, 100]), sigmas=[0.05, 0.1])
    # 25 / (2 · 20 · 10 · 0.1²), over the first keypoint only: the second is at the threshold in one pose.
    np.testing.assert_allclose(matrix, [[1, math.exp(-25 / 4)], [math.exp(-25 / 4), 1]], rtol=1e-5)
    both = oks_matrix(keypoints, scores, np.array([400, 100]), sigmas=[0.05, 0.1], keypoint_threshold=0)
    assert both[0, 1] == pytest.approx((math.exp(-25 / 4) + 1) / 2)


@pytest.mark.parametrize("method", METHODS)
def test_a_caller_may_have_numpy_raise(method):
    """The similarity of people far apart is below what a float32 holds."""
    rng = np.random.default_rng(0)
    apart = np.cumsum(rng.uniform(20, 40, 12))[:, None, None]
    people = rng.uniform(0, 9, (12, 17, 2)) + apart, rng.uniform(0.3, 1, (12, 17)), rng.uniform(0, 1, 12)
    with np.errstate(all="raise"):
        order, _ = oks_nms(*people, np.full(12, 900.0), method=method)
    assert len(order) == 12


@every_method
@settings(max_examples=120, deadline=None)
@given(people=crowds(ties=False), threshold=st.sampled_from([0.0, 0.31, 0.57, 0.9, 1.0]))
def test_equals_the_definition(method, people, threshold):
    keypoints, keypoint_scores, scores, areas = people
    areas = areas + 1000  # away from 0, where float32 and the oracle's doubles would differ most
    order, new = oks_nms(keypoints, keypoint_scores, scores, areas, method=method, threshold=threshold)
    expected = suppress(method, keypoints, keypoint_scores, scores, areas, threshold)
    got = dict(zip(order.tolist(), new.tolist(), strict=True))
    # A redundancy within rounding of the threshold may fall on either side; far from it the sets are equal.
    near = suppress(method, keypoints, keypoint_scores, scores, areas, threshold - 1e-4)
    far = suppress(method, keypoints, keypoint_scores, scores, areas, threshold + 1e-4)
    if set(near) == set(expected) == set(far):
        assert set(got) == set(expected)
        for index, score in expected.items():
            assert got[index] == pytest.approx(score, abs=2e-3)


@every_method
@settings(max_examples=120, deadline=None)
@given(people=crowds(), threshold=st.floats(0, 1))
def test_sorted_and_never_raised(method, people, threshold):
    order, new = oks_nms(*people, method=method, threshold=threshold)
    scores = people[2]
    assert order.dtype == np.intp and new.dtype == np.float32 and order.shape == new.shape
    assert len(set(order.tolist())) == len(order)
    assert (new[1:] <= new[:-1]).all() and np.isfinite(new).all()
    assert (new <= scores[order]).all() and (new >= 0).all()
    assert (len(order) > 0) == (len(scores) > 0)  # the best pose has nobody above it
    if method == "hard":
        np.testing.assert_array_equal(new, scores[order])


@every_method
@settings(max_examples=120, deadline=None)
@given(people=crowds(), threshold=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_order_of_the_input_does_not_matter(method, people, threshold, seed):
    shuffle = np.random.default_rng(seed).permutation(len(people[2]))
    order, new = oks_nms(*people, method=method, threshold=threshold)
    shuffled = [array[shuffle] for array in people]
    order_shuffled, new_shuffled = oks_nms(*shuffled, method=method, threshold=threshold)
    np.testing.assert_array_equal(new_shuffled, new)

    def poses(arrays, kept, kept_scores):
        kept_poses = zip(kept, kept_scores, strict=True)
        return sorted([*(array[i].tolist() for array in arrays), score] for i, score in kept_poses)

    assert poses(shuffled, order_shuffled, new_shuffled) == poses(people, order, new)


@settings(max_examples=120, deadline=None)
@given(people=crowds(), threshold=st.floats(0, 1))
def test_hard_is_idempotent(people, threshold):
    order, scores = oks_nms(*people, method="hard", threshold=threshold)
    again, scores_again = oks_nms(*[array[order] for array in people], method="hard", threshold=threshold)
    np.testing.assert_array_equal(again, np.arange(len(order)))
    np.testing.assert_array_equal(scores_again, scores)


@every_method
def test_nobody(method):
    order, scores = oks_nms(np.zeros((0, K, 2)), np.zeros((0, K)), np.zeros(0), np.zeros(0), method=method)
    assert order.shape == scores.shape == (0,)
    assert order.dtype == np.intp and scores.dtype == np.float32


@every_method
@pytest.mark.parametrize("threshold", [0, 0.9, 1])
@pytest.mark.parametrize("keypoint_score", [1.0, 0.0])
@pytest.mark.parametrize("score", [0.02, 0.0, -0.5])
def test_one_pose_keeps_its_score(method, threshold, keypoint_score, score):
    people = crowd(person(score=score, keypoint_score=keypoint_score))
    order, scores = oks_nms(*people, method=method, threshold=threshold)
    np.testing.assert_array_equal(order, [0])
    np.testing.assert_array_equal(scores, np.float32([score]))


@every_method
@pytest.mark.parametrize("area", [10000.0, 0.0])
def test_copies_are_removed(method, area):
    people = crowd(*(person(score=score, area=area) for score in (0.3, 0.9, 0.5)), person(x=1000, score=0.4, area=area))
    order, scores = oks_nms(*people, method=method)
    np.testing.assert_array_equal(order, [1, 3])
    np.testing.assert_array_equal(scores, np.float32([0.9, 0.4]))


@every_method
def test_negative_scores_are_not_raised_either(method):
    order, scores = oks_nms(*crowd(person(score=-0.2), person(x=4, score=-0.1)), method=method, threshold=1)
    np.testing.assert_array_equal(order, [1, 0])
    np.testing.assert_array_equal(scores, np.float32([-0.1, -0.2]))


@every_method
def test_equal_copies_leave_the_first(method):
    order, scores = oks_nms(*crowd(*[person(score=0.5)] * 4), method=method)
    np.testing.assert_array_equal(order, [0])
    np.testing.assert_array_equal(scores, np.float32([0.5]))


@every_method
def test_poses_without_keypoints_stay(method):
    people = crowd(person(score=0.5, keypoint_score=0.1), person(score=0.9), person(score=0.7, keypoint_score=0.1))
    order, scores = oks_nms(*people, method=method, threshold=0)
    np.testing.assert_array_equal(order, [1, 2, 0])
    np.testing.assert_array_equal(scores, np.float32([0.9, 0.7, 0.5]))
    np.testing.assert_array_equal(oks_matrix(people[0], people[1], people[3]), np.diag([0, 1, 0]))


@every_method
def test_better_keypoints_outrank_a_better_box(method):
    people = crowd(person(score=0.9, keypoint_score=0.5), person(score=0.8, keypoint_score=0.9))
    order, scores = oks_nms(*people, method=method)
    np.testing.assert_array_equal(order, [1])
    np.testing.assert_array_equal(scores, np.float32([0.8]))


def test_one_threshold_means_the_same_for_two_poses():
    people = crowd(person(score=0.9), person(x=4, score=0.8))
    similarity = float(oks_matrix(people[0], people[1], people[3])[0, 1])
    assert 0.3 < similarity < 0.95
    for method in METHODS:
        assert len(oks_nms(*people, method=method, threshold=similarity + 0.01)[0]) == 2
        assert len(oks_nms(*people, method=method, threshold=similarity - 0.01)[0]) == 1


def test_parallel_does_not_count_a_suppressed_pose_twice():
    people = crowd(person(score=0.9), person(x=4, score=0.8), person(x=8, score=0.2))
    similarity = oks_matrix(people[0], people[1], people[3])
    _, parallel = oks_nms(*people, method="parallel", threshold=1)
    _, soft = oks_nms(*people, method="soft", threshold=1)
    near, far = 1 - similarity[0, 1], 1 - similarity[0, 2]
    np.testing.assert_allclose(sorted(parallel), sorted([0.9, 0.8 * near, 0.2 * min(far, near / near)]), rtol=1e-4)
    np.testing.assert_allclose(sorted(soft), sorted([0.9, 0.8 * near, 0.2 * far * near]), rtol=1e-4)


def test_other_skeletons_need_their_sigmas():
    keypoints, scores = np.zeros((2, 3, 2)), np.ones((2, 3))
    order, _ = oks_nms(keypoints, scores, np.array([0.2, 0.4]), np.ones(2), sigmas=[0.1, 0.1, 0.1])
    np.testing.assert_array_equal(order, [1])
    with pytest.raises(InvalidInputError, match=r"sigmas must have shape \(3,\)"):
        oks_nms(keypoints, scores, np.ones(2), np.ones(2))


@every_method
@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_broken_values_are_refused(method, which, value):
    people = [array.astype(np.float64) for array in crowd(person(), person(x=5))]
    people[which].flat[1] = value
    with pytest.raises(InvalidInputError, match="NaN or infinity"):
        oks_nms(*people, method=method)


@every_method
@pytest.mark.parametrize("which", range(4))
def test_wrong_shapes_are_refused(method, which):
    people = list(crowd(person(), person(x=5)))
    for bad in (people[which][:-1], people[which][None]):
        with pytest.raises(InvalidInputError, match="shape"):
            oks_nms(*people[:which], bad, *people[which + 1 :], method=method)


@pytest.mark.parametrize(
    "options",
    [{"method": "matrix"}, {"threshold": -0.1}, {"threshold": 1.1}, {"threshold": math.nan}, {"sigmas": [0.0] * K}],
)
def test_options_out_of_range(options):
    with pytest.raises(InvalidInputError):
        oks_nms(*crowd(person()), **options)


def test_negative_area_is_refused():
    with pytest.raises(InvalidInputError, match="areas must be at least 0, got -1"):
        oks_nms(*crowd(person(), person(area=-1)))

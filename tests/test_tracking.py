"""Who is who from frame to frame: invented people who stand, walk, hide, leave and pass each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linear_sum_assignment

from mobilepose_sdk.assignment import assign
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17
from mobilepose_sdk.smoothing import DEFAULT_SMOOTHING
from mobilepose_sdk.tracking import Tracker, Tracking

FPS = 30.0
WIDTH, HEIGHT = 60.0, 160.0
SHAPES = np.random.default_rng(0).uniform((-WIDTH / 2, -HEIGHT / 2), (WIDTH / 2, HEIGHT / 2), (5, 17, 2))
"""Keypoints of five people about their middle: everybody holds their limbs differently."""
WALKING = 1.5 * np.sqrt(WIDTH * HEIGHT) / FPS
"""Pixels a frame."""


def scene(*people: tuple[int, float, float], scores=None, noise=0.0, seed=0) -> PoseResult:
    """A result with people, each a shape, the x and the y of their middle."""
    rng = np.random.default_rng(seed)
    middles = np.array([person[1:] for person in people], dtype=np.float64).reshape(-1, 2)
    shapes = SHAPES[[person[0] for person in people]] if people else np.zeros((0, 17, 2))
    half = np.array([WIDTH, HEIGHT]) / 2
    n = len(people)
    return PoseResult(
        middles[:, None] + shapes + rng.normal(0, noise, (n, 17, 2)),
        np.full((n, 17), 0.8),
        np.concatenate([middles - half, middles + half], axis=1),
        np.full(n, 0.8) if scores is None else np.array(scores),
        (640, 480),
        COCO_17,
    )


def follow(tracker, results, start=0):
    return [tracker.update(result, (start + index) / FPS) for index, result in enumerate(results)]


def ids(result):
    return result.track_ids.tolist()


# Numbers


def test_people_keep_their_numbers_whatever_order_they_come_in():
    tracker = Tracker()
    results = follow(tracker, [scene((0, 100, 200), (1, 300, 200)), scene((1, 302, 200), (0, 101, 200))])
    assert [ids(result) for result in results] == [[0, 1], [0, 1]]
    assert results[1].boxes[0, 0] < results[1].boxes[1, 0]


def test_numbers_stay_through_trembling_and_walking():
    clip = [scene((0, 50 + WALKING * t, 200), (1, 500, 200), noise=2, seed=t) for t in range(60)]
    assert {tuple(ids(result)) for result in follow(Tracker(), clip)} == {(0, 1)}


def test_a_number_is_never_given_twice():
    tracker = Tracker(Tracking(patience=0.1))
    follow(tracker, [scene((0, 100, 200))] * 5 + [scene()] * 30)
    assert ids(tracker.update(scene((0, 100, 200)), 10.0)) == [1]


def test_nobody_is_an_empty_result_with_numbers():
    result = Tracker().update(scene(), 0.0)
    assert (len(result), ids(result), result.keypoints.shape) == (0, [], (0, 17, 2))


def test_what_is_not_smoothed_is_not_changed():
    before = scene((0, 100, 200), (1, 300, 200), noise=1)
    after = Tracker().update(before, 0.0)
    for name in ("keypoints", "keypoint_scores", "boxes", "scores"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.image_size == before.image_size


# Birth, rest and death


def test_a_weak_pose_begins_no_track_but_continues_one():
    tracker = Tracker(Tracking(birth_score=0.5, keep_score=0.2))
    scores = [0.4, 0.6, 0.3, 0.1]
    results = follow(tracker, [scene((0, 100, 200), scores=[score]) for score in scores])
    assert [ids(result) for result in results] == [[], [0], [0], []]


def test_a_pose_of_few_keypoints_is_nobody():
    whole = scene((0, 100, 200))
    seen = np.zeros((1, 17))
    seen[0, :3] = 0.9
    sliver = PoseResult(whole.keypoints, seen, whole.boxes, whole.scores, whole.image_size, COCO_17)
    assert ids(Tracker().update(sliver, 0.0)) == []


def test_somebody_out_of_sight_is_not_reported_and_comes_back_as_themselves():
    tracker = Tracker()
    results = follow(tracker, [scene((0, 100, 200))] * 5 + [scene()] * 15 + [scene((0, 103, 200))])
    assert [len(result) for result in results] == [1] * 5 + [0] * 15 + [1]
    assert ids(results[-1]) == [0]


def test_somebody_who_walks_on_out_of_sight_is_recognised():
    clip = [scene((0, 50 + WALKING * t, 200)) if t < 20 or t > 32 else scene() for t in range(50)]
    assert ids(follow(Tracker(), clip)[-1]) == [0]


def test_after_the_patience_they_are_somebody_new():
    tracker = Tracker(Tracking(patience=0.2))
    results = follow(tracker, [scene((0, 100, 200))] * 5 + [scene()] * 10 + [scene((0, 100, 200))])
    assert ids(results[-1]) == [1]


def test_a_track_that_was_hardly_seen_is_forgotten_at_once():
    results = follow(Tracker(), [scene((0, 100, 200)), scene(), scene((0, 100, 200))])
    assert [ids(result) for result in results] == [[0], [], [1]]


def test_searching_until_everybody_known_is_in_sight():
    tracker = Tracker()
    assert tracker.searching
    for index, (result, searching) in enumerate(
        [(scene(), True), *[(scene((0, 100, 200)), False)] * 4, (scene(), True), (scene((0, 100, 200)), False)]
    ):
        tracker.update(result, index / FPS)
        assert tracker.searching == searching


# Where people will be


def test_the_next_box_of_somebody_at_rest_does_not_move_although_they_tremble():
    tracker = Tracker()
    boxes = []
    for t in range(20):
        tracker.update(scene((0, 100 + 2 * (-1) ** t, 200)), t / FPS)
        boxes.append(tracker.boxes((t + 1) / FPS)[0])
    assert np.ptp(boxes[5:], axis=0).max() < 1


def test_the_next_box_of_somebody_who_walks_is_where_they_will_be():
    tracker = Tracker()
    follow(tracker, [scene((0, 50 + WALKING * t, 200)) for t in range(60)])
    middle = tracker.boxes(60 / FPS)[0, ::2].mean()
    assert middle == pytest.approx(50 + WALKING * 60, abs=WALKING)


def test_only_people_in_the_last_frame_have_a_next_box():
    tracker = Tracker()
    follow(tracker, [scene((0, 100, 200), (1, 300, 200))] * 5 + [scene((1, 300, 200))])
    assert len(tracker.boxes(6 / FPS)) == 1


# People who pass each other


def crossing(hidden: bool, noise: float, gap: float, seed: int, merged: bool = False):
    """Two people who walk through each other; (frame, person in front, person behind) of every frame.

    Behind, a person is not found at all, or found as what shows of them and as a pose of both.
    """
    rng = np.random.default_rng(seed)
    clip = []
    for t in range(80):
        x, y = 60 + WALKING * t, 60 + WALKING * 79 - WALKING * t
        people = [(0, x, 200.0), (1, y, 200.0 + gap)]
        apart = abs(x - y)
        if apart < WIDTH * 0.7:
            scores = [0.8, 0.8]
            if hidden:
                people, scores = people[:1], scores[:1]
            elif merged:
                people[1], scores = (2, (x + y) / 2 + rng.normal(0, 5), 200.0), [0.8, 0.3]
        else:
            scores = [0.8, 0.8]
        order = rng.permutation(len(people))
        result = scene(*[people[i] for i in order], scores=[scores[i] for i in order], noise=noise, seed=seed + t)
        clip.append((result, x, y, apart))
    return clip


@pytest.mark.parametrize("kind", ["both found", "one hidden", "one mistaken"])
@pytest.mark.parametrize("gap", [0.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_two_who_pass_keep_their_numbers(kind, gap, seed):
    clip = crossing(kind == "one hidden", 1.5, gap, seed * 1000, merged=kind == "one mistaken")
    tracker = Tracker(smoothing=DEFAULT_SMOOTHING)
    owners: dict[int, set[int]] = {0: set(), 1: set()}
    for index, (result, x, y, apart) in enumerate(clip):
        found = tracker.update(result, index / FPS)
        if apart > WIDTH:
            middles = found.boxes[:, ::2].mean(axis=1)
            for person, place in enumerate((x, y)):
                near = np.flatnonzero(np.abs(middles - place) < WIDTH / 2)
                owners[person] |= {ids(found)[i] for i in near}
    assert len(owners[0]) == len(owners[1]) == 1
    assert owners[0] != owners[1]


def test_in_a_crowd_a_pose_that_is_suddenly_unsure_is_nobodys():
    tracker = Tracker()
    follow(tracker, [scene((0, 100, 200), (1, 130, 200))] * 5)
    unsure = scene((0, 100, 200), (1, 130, 200), scores=[0.8, 0.4])
    assert ids(follow(tracker, [unsure], start=5)[0]) == [0]


def test_in_a_crowd_a_pose_that_is_suddenly_large_is_nobodys():
    tracker = Tracker()
    follow(tracker, [scene((0, 100, 200), (1, 130, 200))] * 5)
    both = scene((0, 100, 200), (1, 130, 200))
    wide = both.boxes.copy()
    wide[1, :2] -= 40
    result = PoseResult(both.keypoints, both.keypoint_scores, wide, both.scores, both.image_size, COCO_17)
    assert ids(follow(tracker, [result], start=5)[0]) == [0]


def test_on_their_own_somebody_may_become_unsure():
    tracker = Tracker()
    results = follow(tracker, [scene((0, 100, 200))] * 5 + [scene((0, 100, 200), scores=[0.4])])
    assert ids(results[-1]) == [0]


def test_what_is_usual_is_not_learnt_in_a_crowd():
    """Who is slowly covered by somebody else fades, frame by frame, without ever changing much."""
    tracker = Tracker()
    follow(tracker, [scene((0, 100, 200), (1, 300, 200))] * 5)
    fading = [scene((0, 270, 200), (1, 300, 200), scores=[0.8, score]) for score in np.linspace(0.8, 0.4, 80)]
    assert 1 not in ids(follow(tracker, fading, start=5)[-1])


def test_what_shows_of_somebody_hidden_begins_no_track():
    tracker = Tracker()
    follow(tracker, [scene((0, 100, 200), (1, 300, 200))] * 5)
    sliver = scene((2, 105, 200), (1, 300, 200), scores=[0.3, 0.8])
    narrow = sliver.boxes.copy()
    narrow[0, 2] = narrow[0, 0] + WIDTH / 4
    result = PoseResult(sliver.keypoints, sliver.keypoint_scores, narrow, sliver.scores, sliver.image_size, COCO_17)
    follow(tracker, [scene((1, 300, 200))], start=5)
    assert ids(follow(tracker, [result], start=6)[0]) == [1]


def test_a_child_in_front_of_an_adult_is_somebody():
    assert ids(Tracker().update(scene((0, 100, 200), (1, 110, 220)), 0.0)) == [0, 1]


# Smoothing


def test_jitter_of_somebody_at_rest_is_at_least_halved():
    def jitter(smoothing):
        clip = [scene((0, 100, 200), noise=1, seed=t) for t in range(90)]
        keypoints = np.concatenate([r.keypoints for r in follow(Tracker(smoothing=smoothing), clip)])
        return np.sqrt((np.diff(keypoints[10:], axis=0) ** 2).sum(axis=2).mean())

    assert jitter(DEFAULT_SMOOTHING) <= 0.5 * jitter(None)


def test_a_walking_person_lags_by_at_most_a_frame():
    clip = [scene((0, 50 + WALKING * t, 200)) for t in range(60)]
    last = follow(Tracker(smoothing=DEFAULT_SMOOTHING), clip)[-1]
    assert 0 <= (clip[-1].keypoints - last.keypoints)[0, :, 0].mean() <= WALKING


def test_boxes_are_smoothed_with_their_keypoints():
    clip = [scene((0, 50 + WALKING * t, 200)) for t in range(60)]
    bare, smooth = (follow(Tracker(smoothing=s), clip)[-1] for s in (None, DEFAULT_SMOOTHING))
    behind = (bare.keypoints - smooth.keypoints)[0, :, 0].mean()
    assert (bare.boxes - smooth.boxes)[0, 0] == pytest.approx(behind, abs=0.05)


# Errors


@pytest.mark.parametrize("timestamp", [1.0, 0.5, float("nan"), float("inf")])
def test_time_must_go_on(timestamp):
    tracker = Tracker()
    tracker.update(scene(), 1.0)
    with pytest.raises(InvalidInputError, match="timestamps must rise"):
        tracker.update(scene(), timestamp)


@pytest.mark.parametrize(
    "options", [{"birth_score": 2}, {"keep_score": -1}, {"min_similarity": 1.1}, {"patience": -1}, {"trusted_after": 0}]
)
def test_rules_out_of_range_are_refused(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        Tracking(**options)


# Assignment


@settings(deadline=None)
@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(0, 7), st.integers(0, 7)),
        elements=st.floats(-10, 10) | st.integers(0, 3).map(float),
    )
)
def test_assignment_costs_no_more_than_scipys(cost):
    rows, columns = assign(cost)
    best = linear_sum_assignment(cost)
    assert len(rows) == len(columns) == min(cost.shape)
    assert (np.diff(rows) > 0).all()
    assert len(set(columns.tolist())) == len(columns)
    assert cost[rows, columns].sum() == pytest.approx(cost[best].sum(), abs=1e-9)


def test_assignment_prefers_the_best_sum_to_the_best_pair():
    rows, columns = assign(np.array([[0.0, 1.0], [0.1, 9.0]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize("cost", [np.zeros(3), np.array([[np.nan]]), np.array([[np.inf]])], ids=repr)
def test_costs_that_are_none_are_refused(cost):
    with pytest.raises(InvalidInputError, match="costs"):
        assign(cost)

"""The One-Euro filter: calm at rest, quick in motion, whatever the frame rate and the person's size."""

from __future__ import annotations

import numpy as np
import pytest

from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.smoothing import DEFAULT_SMOOTHING, OneEuro, Smoothing

SIZE = 200.0
WALKING = 1.5 * SIZE
"""Pixels a second: somebody who walks by."""


def trembling(frames=300, noise=1.0, seed=0):
    """(frames, 17, 2) of somebody at rest, as a network sees them."""
    return 100 + np.random.default_rng(seed).normal(0, noise, (frames, 17, 2)).astype(np.float32)


def smoothed(keypoints, fps=30.0, settings=DEFAULT_SMOOTHING, size=SIZE):
    smooth = OneEuro(settings)
    return np.array([smooth(points, index / fps, size) for index, points in enumerate(keypoints)])


def jitter(keypoints):
    """Root mean square of the steps from frame to frame, the first second left out."""
    return float(np.sqrt((np.diff(keypoints[30:], axis=0) ** 2).sum(axis=2).mean()))


def lag(fps, settings=DEFAULT_SMOOTHING, speed=WALKING):
    """Frames that a keypoint in steady motion is behind after three seconds."""
    x = np.arange(int(3 * fps)) * speed / fps
    found = smoothed(np.stack([x, 0 * x], axis=1)[:, None], fps, settings)
    return (x[-1] - found[-1, 0, 0]) / (speed / fps)


@pytest.mark.parametrize("noise", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("fps", [15, 30, 60])
def test_jitter_at_rest_is_at_least_halved(fps, noise):
    bare = trembling(noise=noise)
    assert jitter(smoothed(bare, fps)) <= 0.5 * jitter(bare)


@pytest.mark.parametrize("fps", [10, 30, 60])
def test_a_walking_person_is_at_most_one_frame_behind(fps):
    assert 0 <= lag(fps) <= 1


def test_more_responsiveness_lags_less_and_a_lower_cutoff_is_calmer():
    assert lag(30, Smoothing(responsiveness=20)) < lag(30) < lag(30, Smoothing(responsiveness=1))
    bare = trembling()
    assert jitter(smoothed(bare, settings=Smoothing(min_cutoff=0.3))) < jitter(smoothed(bare))


def test_the_first_keypoints_come_back_unchanged():
    keypoints = trembling(1)[0]
    np.testing.assert_array_equal(OneEuro(DEFAULT_SMOOTHING)(keypoints, 5.0, SIZE), keypoints)


def test_a_person_twice_as_large_in_the_picture_is_smoothed_alike():
    bare = trembling()
    np.testing.assert_allclose(smoothed(2 * bare, size=2 * SIZE), 2 * smoothed(bare), rtol=1e-4)


def test_time_counts_and_not_the_number_of_frames():
    """A step is followed as far after a second, whether that was ten frames or a hundred."""
    after = [
        smoothed(np.concatenate([np.zeros((1, 1, 2)), np.ones((fps, 1, 2))]), fps, Smoothing(responsiveness=0))[
            -1, 0, 0
        ]
        for fps in (10, 100)
    ]
    assert after[0] == pytest.approx(after[1], abs=0.02)


def test_after_a_long_gap_the_new_position_counts():
    smooth = OneEuro(DEFAULT_SMOOTHING)
    smooth(np.zeros((1, 2)), 0.0, SIZE)
    assert smooth(np.full((1, 2), 10.0), 60.0, SIZE)[0, 0] > 9.9


def test_keypoints_have_cutoffs_of_their_own():
    """A wrist that waves does not make a trembling nose less calm."""
    bare = trembling()
    waving = bare.copy()
    waving[:, 9, 0] += 100 * np.sin(np.arange(len(bare)))
    np.testing.assert_allclose(smoothed(waving)[:, 0], smoothed(bare)[:, 0], atol=1e-4)


@pytest.mark.parametrize("timestamp", [1.0, 0.5])
def test_time_that_stands_or_runs_back_starts_again(timestamp):
    smooth = OneEuro(DEFAULT_SMOOTHING)
    smooth(np.zeros((1, 2)), 1.0, SIZE)
    np.testing.assert_array_equal(smooth(np.ones((1, 2)), timestamp, SIZE), np.ones((1, 2)))


def test_given_keypoints_are_not_written_to():
    keypoints = trembling(2)
    before = keypoints.copy()
    smoothed(keypoints)
    np.testing.assert_array_equal(keypoints, before)


@pytest.mark.parametrize(
    "options",
    [
        {"min_cutoff": 0},
        {"min_cutoff": float("nan")},
        {"speed_cutoff": -1},
        {"responsiveness": -0.1},
        {"min_cutoff": None},
    ],
    ids=repr,
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        Smoothing(**options)

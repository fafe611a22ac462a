"""Another person in front: their pixels show where they stand, nothing else changes, and not too much is hidden."""

from __future__ import annotations

import numpy as np
import pytest

from converters.training.occlusion import LARGEST_COVER, put_before, silhouette

STANDING = np.array(
    [(48, 20), (50, 18), (46, 18), (53, 19), (43, 19), (60, 36), (36, 36), (64, 54), (32, 54), (66, 70), (30, 70)]
    + [(56, 72), (40, 72), (57, 96), (39, 96), (58, 118), (38, 118)],
    np.float32,
)
EVERY = np.ones(17, bool)
SIZE = (96, 128)


def test_a_silhouette_holds_its_keypoints_and_little_else() -> None:
    mask = silhouette(STANDING, EVERY, SIZE)
    assert mask is not None and mask.shape == (128, 96) and mask.dtype == np.float32
    x, y = STANDING.astype(int).T
    assert mask[y, x].min() > 0.5
    assert mask.min() >= 0 and mask.max() <= 1
    assert mask[:, :12].max() < 0.01 and mask[:, -12:].max() < 0.01
    assert 0.15 < mask.mean() < 0.5


def test_an_unlabelled_leg_is_not_drawn() -> None:
    labelled = EVERY.copy()
    labelled[[13, 15]] = False
    mask = silhouette(STANDING, labelled, SIZE)
    assert mask is not None
    assert mask[118, 58] < 0.01 and mask[118, 38] > 0.5


@pytest.mark.parametrize("joint", [5, 6, 11, 12])
def test_there_is_no_silhouette_without_shoulders_and_hips(joint: int) -> None:
    labelled = EVERY.copy()
    labelled[joint] = False
    assert silhouette(STANDING, labelled, SIZE) is None


def test_a_person_far_outside_the_crop_hides_nothing() -> None:
    mask = silhouette(STANDING * 50 + 1e6, EVERY, SIZE)
    assert mask is not None and mask.max() == 0


def test_the_person_in_front_covers_just_their_own_pixels() -> None:
    crop, other = np.full((128, 96, 3), 40, np.uint8), np.full((128, 96, 3), 200, np.uint8)
    mask = silhouette(STANDING + (30, 0), EVERY, SIZE)
    together = put_before(crop, STANDING, other, mask)
    assert mask is not None
    inside, outside = mask > 0.999, mask == 0
    assert (together[inside] >= 199).all() and (together[outside] == 40).all()
    assert inside.sum() > 500 and outside.sum() > 500


def test_nobody_is_put_before_most_of_a_person() -> None:
    crop, other = np.full((128, 96, 3), 40, np.uint8), np.full((128, 96, 3), 200, np.uint8)
    mask = silhouette(STANDING, EVERY, SIZE)
    assert put_before(crop, STANDING, other, mask) is crop
    shown = np.concatenate([STANDING[:6], np.tile([[4.0, 4.0]], (10, 1))])  # 6 of 16 are behind the other
    assert LARGEST_COVER >= 6 / 16 and put_before(crop, shown, other, mask) is not crop
    assert put_before(crop, shown[:-2], other, mask) is crop


def test_a_crop_without_keypoints_in_it_stays_as_it_is() -> None:
    crop, other = np.full((128, 96, 3), 40, np.uint8), np.full((128, 96, 3), 200, np.uint8)
    mask = silhouette(STANDING, EVERY, SIZE)
    assert put_before(crop, STANDING + 1000, other, mask) is crop
    assert put_before(crop, STANDING, other, None) is crop

"""What a network is shown: people's crops, moved, turned, cut, covered and coloured, with their keypoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.training.augmentation import Augmentation, change_colour, picture_end
from converters.training.people import Person, PoseSamples
from converters.training.pose import repeats
from mobilepose_sdk.skeleton import COCO_17

PLAIN = Augmentation(colour=0, blur_share=0, other_person_share=0)
"""Geometry alone."""
STILL = replace(PLAIN, rotation_share=0, scale=0, aspect=1, shift=0, half_body_share=0, cut_share=0)
"""Not even that."""


def test_a_sample_is_the_same_whenever_it_is_drawn(folder: Path) -> None:
    first = PoseSamples(folder / "train.json", folder / "images", (96, 128), Augmentation(), seed=3)
    again = PoseSamples(folder / "train.json", folder / "images", (96, 128), Augmentation(), seed=3)
    first[0], first[20]
    for one, other in zip(first[13], again[13]):
        assert torch.equal(one, other)


def test_an_epoch_shows_every_person_once(folder: Path) -> None:
    samples = PoseSamples(folder / "train.json", folder / "images", (96, 128), Augmentation(), seed=3)
    seen: list[int] = []
    samples.sample = lambda index, rng: seen.append(index)  # type: ignore[method-assign,assignment,return-value]
    for draw in range(12):
        samples[draw]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert seen[:6] != seen[6:]


def test_people_are_shown_as_often_as_asked(folder: Path) -> None:
    data = folder / "train.json", folder / "images", (96, 128), PLAIN
    assert len(PoseSamples(*data, seed=0, repeats=lambda person: 3 if person.source == "lsp" else 1)) == 3 * 3 + 3
    assert len(PoseSamples(*data, seed=0)) == 6


WHOLE = np.ones(17)
"""Weights of a person whose every keypoint is labelled."""


@pytest.mark.parametrize(
    ("source", "hidden", "times"),
    [
        ("lspet", [], 1),
        ("lspet", list(range(5)), 1),  # sport pictures show nearly everybody whole
        ("lsp", [], 6),
        ("human_dataset_v2", [], 2),
        ("human_dataset_v2", [0, 1, 2], 2),
        ("human_dataset_v2", [0, 1, 2, 3], 6),
        ("human_dataset_v2", [13], 2),
        ("human_dataset_v2", [13, 14, 15, 16], 4),
        ("human_dataset_v2", list(range(11, 17)), 10),
        ("capston2", list(range(7, 17)), 10),
    ],
)
def test_people_who_are_seen_in_part_are_shown_more_often(source: str, hidden: list[int], times: int) -> None:
    weights = WHOLE.copy()
    weights[hidden] = 0
    assert repeats(Person(1, 1, source, np.zeros(4), np.zeros((17, 2)), weights)) == times


def test_people_stand_before_others_as_often_as_asked(folder: Path) -> None:
    alone, together = (
        PoseSamples(folder / "train.json", folder / "images", (96, 128), replace(PLAIN, other_person_share=share), 0)
        for share in (0.0, 1.0)
    )
    changed = 0
    for draw in range(12):
        (crop, *truth), (covered, *same) = alone[draw], together[draw]
        assert all(torch.equal(one, other) for one, other in zip(truth, same))
        changed += not torch.equal(crop, covered)
    assert changed > 3


def test_nothing_is_seen_or_known_beyond_where_a_picture_ends(folder: Path) -> None:
    changes = replace(PLAIN, cut_share=1.0, half_body_share=0, rotation_share=0)
    cut, whole = (
        PoseSamples(folder / "train.json", folder / "images", (96, 128), replace(changes, cut_share=share), 0)
        for share in (1.0, 0.0)
    )
    dark, known = [], []
    for samples in (cut, whole):
        crops, _, weights = zip(*(samples[draw] for draw in range(40)))
        dark.append(float((torch.stack(crops) == 0).all(dim=1).float().mean()))
        known.append(float(torch.stack(weights).mean()))
    assert dark[0] > dark[1] + 0.05
    assert known[0] < 0.9 * known[1]


def test_a_picture_that_ends_before_all_that_it_has_of_a_person_is_shown_as_it_is(folder: Path) -> None:
    annotations = json.loads((folder / "train.json").read_text())
    for person in annotations["annotations"]:
        keypoints = np.array(person["keypoints"]).reshape(17, 3)
        keypoints[:, 0] -= 150  # most of the person, and all keypoints, left of the picture
        person |= {"bbox": [-130, 25, 140, 110], "keypoints": keypoints.ravel().tolist()}
    (folder / "train.json").write_text(json.dumps(annotations))
    changes = replace(STILL, cut_share=1.0)
    samples = PoseSamples(folder / "train.json", folder / "images", (96, 128), changes, 0)
    assert any(samples[draw][0].any() for draw in range(60))


def test_a_picture_ends_inside_a_person_and_leaves_some_of_them() -> None:
    box, keypoints = np.array([100.0, 50, 200, 350]), np.random.default_rng(1).uniform((100, 50), (200, 350), (17, 2))
    ends = [picture_end(box, keypoints, np.ones(17, bool), np.random.default_rng(seed)) for seed in range(200)]
    found = np.stack([edges for edges in ends if edges is not None])
    assert len(found) > 100
    assert ((keypoints >= found[:, None, :2]) & (keypoints <= found[:, None, 2:])).all(axis=2).sum(axis=1).min() >= 3
    finite = np.isfinite(found)
    assert set(finite.sum(axis=1)) == {1, 2}
    assert ((found > np.tile(box[:2], 2)) & (found < np.tile(box[2:], 2)))[finite].all()
    assert finite[:, 3].sum() > finite[:, :3].sum()  # legs are what is missing most often
    assert picture_end(box, keypoints, np.arange(17) < 2, np.random.default_rng(0)) is None


def test_augmented_keypoints_stay_on_their_pixels(folder: Path) -> None:
    samples = PoseSamples(folder / "train.json", folder / "images", (96, 128), PLAIN, 0)
    on_dot = []
    for draw in range(60):
        crop, xy, weights = samples[draw]
        for (x, y), weight in zip(xy.numpy() * 4, weights.numpy()):
            if weight and 1 <= x <= 94 and 1 <= y <= 126:
                on_dot.append(int(crop[:, round(float(y)), round(float(x))].max()) > 120)
    assert len(on_dot) > 400
    assert np.mean(on_dot) > 0.97


def test_somebody_turned_any_way_is_whole_in_their_crop(folder: Path) -> None:
    data = folder / "train.json", folder / "images", (96, 128)
    turned = PoseSamples(*data, replace(STILL, turn_share=1.0), seed=0)
    quarters = set()
    for draw in range(60):
        _, xy, weights = turned[draw]
        assert weights.min() > 0
        x, y = (xy[1] - xy[0]).tolist()
        quarters.add((x > 0, y > 0))
    assert len(quarters) == 4


def test_tinted_light_takes_more_of_one_colour_than_of_another() -> None:
    grey, rng = np.full((4, 4, 3), 200, np.uint8), np.random.default_rng(0)
    light = replace(PLAIN, colour=1e-6, blur_share=0.0)
    daylight, tinted = (
        np.stack([change_colour(grey, replace(light, tint_share=share), rng)[0, 0] for _ in range(100)]).astype(int)
        for share in (0.0, 1.0)
    )
    assert np.ptp(daylight, axis=1).max() <= 1
    changed = tinted[np.ptp(tinted, axis=1) > 10]
    assert len(changed) > 50
    assert changed.min() >= 0.3 * 200 - 1 and changed.max() <= 1.1 * 200 + 1


def test_flipping_swaps_left_and_right() -> None:
    names = np.array(COCO_17.names)
    assert names[COCO_17.flip_indices][5] == "right_shoulder"
    assert (COCO_17.flip_indices[COCO_17.flip_indices] == np.arange(17)).all()

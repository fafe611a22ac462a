"""Keypoint layouts, and what of one can be said in another."""

from __future__ import annotations

import numpy as np
import pytest

from mobilepose_sdk.conversion import conversion
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.metrics import BODY
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17, CROWDPOSE_14, LSP_14, MPII_16, SKELETONS, find_skeleton

ALL = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
PAIRS = pytest.mark.parametrize(
    ("source", "target"), [(a, b) for a in SKELETONS for b in SKELETONS], ids=lambda name: name
)


@ALL
def test_a_skeletons_name_says_how_many_keypoints_it_has(skeleton):
    assert skeleton.name.endswith(f"-{len(skeleton)}")
    assert len(set(skeleton.names)) == len(skeleton.names) == len(skeleton.sigmas)


@ALL
def test_limbs_join_all_keypoints_and_look_the_same_in_a_mirror(skeleton):
    flip = skeleton.flip_indices
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert len(limbs) == len(skeleton.limbs)
    assert {frozenset(int(flip[end]) for end in limb) for limb in limbs} == limbs
    joined = {0}
    for _ in skeleton.limbs:
        joined |= {end for limb in limbs if limb & joined for end in limb}
    assert joined == set(range(len(skeleton)))


@ALL
def test_both_sides_are_alike_and_change_places_in_a_mirror(skeleton):
    flip = skeleton.flip_indices
    assert flip[flip].tolist() == list(range(len(skeleton)))
    assert [skeleton.sigmas[index] for index in flip] == list(skeleton.sigmas)
    sides = [index for index in range(len(skeleton)) if flip[index] != index]
    assert all(skeleton.names[i].split("_")[1] == skeleton.names[flip[i]].split("_")[1] for i in sides)
    assert len(sides) == {17: 16, 16: 12, 14: 12}[len(skeleton)]


def test_mpiis_flip_pairs_are_those_of_its_evaluation():
    pairs = [[0, 5], [1, 4], [2, 3], [10, 15], [11, 14], [12, 13]]
    assert [[i, j] for i, j in enumerate(MPII_16.flip_indices.tolist()) if i < j] == pairs


def test_crowdposes_sigmas_are_those_of_its_evaluation():
    published = np.array([0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89, 0.79, 0.79]) / 10
    np.testing.assert_allclose(CROWDPOSE_14.sigmas, published)


@pytest.mark.parametrize("skeleton", [MPII_16, LSP_14], ids=lambda skeleton: skeleton.name)
def test_without_sigmas_of_its_own_a_joint_has_cocos(skeleton):
    for name, sigma in zip(skeleton.names, skeleton.sigmas):
        like = {"pelvis": "left_hip", "thorax": "left_shoulder", "neck": "left_shoulder"}
        like.update({"upper_neck": "left_shoulder", "head_top": "left_shoulder"})
        assert sigma == COCO_17.sigmas[COCO_17.names.index(like.get(name, name))]


@ALL
def test_every_skeleton_has_the_twelve_body_keypoints(skeleton):
    assert set(BODY) <= set(skeleton.names)


def test_a_skeleton_is_found_by_name():
    assert find_skeleton("mpii-16") is MPII_16
    assert find_skeleton(MPII_16) is MPII_16
    with pytest.raises(InvalidInputError, match="no skeleton 'mpii'; known: coco-17, crowdpose-14, lsp-14, mpii-16"):
        find_skeleton("mpii")


# From one to another


def person(skeleton, seed=0):
    """(K, 2) keypoints and (K,) scores."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 100, (len(skeleton), 2)).astype(np.float32), rng.uniform(0.1, 1, len(skeleton))


def at(name, skeleton):
    return skeleton.names.index(name)


@PAIRS
def test_the_same_joint_stays_where_it_is(source, target):
    source, target = SKELETONS[source], SKELETONS[target]
    keypoints, scores = person(source)
    converted, converted_scores = conversion(source, target)(keypoints, scores)
    assert (converted.shape, converted_scores.shape) == ((len(target), 2), (len(target),))
    assert converted.dtype == converted_scores.dtype == np.float32
    for name in set(source.names) & set(target.names):
        np.testing.assert_array_equal(converted[at(name, target)], keypoints[at(name, source)])
        assert converted_scores[at(name, target)] == np.float32(scores[at(name, source)])


@PAIRS
def test_every_keypoint_is_the_same_derived_or_unknown(source, target):
    to = conversion(source, target)
    assert sorted((*to.exact, *to.derived, *to.unknown)) == sorted(to.target.names)
    converted, scores = to(*person(to.source))
    unknown = [at(name, to.target) for name in to.unknown]
    assert np.isnan(converted[unknown]).all()
    assert (scores[unknown] == 0).all()
    assert np.isfinite(np.delete(converted, unknown, axis=0)).all()
    assert (np.delete(scores, unknown) > 0).all()


FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
WHAT_IS_LOST = {
    ("coco-17", "crowdpose-14"): (("neck",), ("head",)),
    ("coco-17", "lsp-14"): (("neck",), ("head_top",)),
    ("coco-17", "mpii-16"): (("pelvis", "thorax"), ("upper_neck", "head_top")),
    ("crowdpose-14", "mpii-16"): (("pelvis", "thorax"), ()),
    ("lsp-14", "crowdpose-14"): ((), ()),
    ("mpii-16", "lsp-14"): ((), ()),
    ("mpii-16", "coco-17"): ((), FACE),
    ("lsp-14", "coco-17"): ((), FACE),
    ("crowdpose-14", "coco-17"): ((), FACE),
}


@pytest.mark.parametrize(("names", "lost"), WHAT_IS_LOST.items(), ids=lambda pair: " ".join(map(str, pair)))
def test_what_a_layout_cannot_say(names, lost):
    to = conversion(*names)
    assert (to.derived, to.unknown) == lost


@pytest.mark.parametrize(
    ("target", "name", "joint"),
    [
        (MPII_16, "pelvis", "hip"),
        (MPII_16, "thorax", "shoulder"),
        (LSP_14, "neck", "shoulder"),
        (CROWDPOSE_14, "neck", "shoulder"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_middle_has_the_lower_score(target, name, joint):
    keypoints, scores = person(COCO_17)
    left, right = at(f"left_{joint}", COCO_17), at(f"right_{joint}", COCO_17)
    keypoints[[left, right]] = [[10, 20], [30, 50]]
    scores[[left, right]] = [0.75, 0.25]
    converted, converted_scores = conversion(COCO_17, target)(keypoints, scores)
    assert converted[at(name, target)].tolist() == [20, 35]
    assert converted_scores[at(name, target)] == 0.25


@pytest.mark.parametrize(
    ("source", "target", "one", "other"),
    [
        (LSP_14, MPII_16, "neck", "upper_neck"),
        (MPII_16, CROWDPOSE_14, "upper_neck", "neck"),
        (CROWDPOSE_14, LSP_14, "head", "head_top"),
        (MPII_16, CROWDPOSE_14, "head_top", "head"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_neck_and_the_top_of_the_head_have_two_names(source, target, one, other):
    keypoints, scores = person(source)
    converted, _ = conversion(source, target)(keypoints, scores)
    np.testing.assert_array_equal(converted[at(other, target)], keypoints[at(one, source)])


@pytest.mark.parametrize("target", ["crowdpose-14", "lsp-14", "mpii-16"])
def test_there_and_back_the_body_is_whole(target):
    keypoints, scores = person(COCO_17)
    back, back_scores = conversion(target, "coco-17")(*conversion("coco-17", target)(keypoints, scores))
    np.testing.assert_array_equal(back[5:], keypoints[5:])
    np.testing.assert_array_equal(back_scores[5:], scores[5:].astype(np.float32))


def test_what_is_derived_from_an_unknown_keypoint_is_unknown():
    keypoints, scores = person(COCO_17)
    hip = at("left_hip", COCO_17)
    keypoints[hip], scores[hip] = np.nan, 0
    converted, converted_scores = conversion("coco-17", "mpii-16")(keypoints, scores)
    pelvis = at("pelvis", MPII_16)
    assert np.isnan(converted[pelvis]).all()
    assert converted_scores[pelvis] == 0


def test_many_people_are_converted_at_once():
    people = [person(COCO_17, seed) for seed in range(6)]
    keypoints, scores = (np.stack(arrays).reshape(2, 3, 17, *arrays[0].shape[1:]) for arrays in zip(*people))
    converted, converted_scores = conversion("coco-17", "lsp-14")(keypoints, scores)
    assert (converted.shape, converted_scores.shape) == ((2, 3, 14, 2), (2, 3, 14))
    one, one_scores = conversion("coco-17", "lsp-14")(*people[4])
    np.testing.assert_array_equal(converted[1, 1], one)
    np.testing.assert_array_equal(converted_scores[1, 1], one_scores)


@pytest.mark.parametrize(("keypoints", "scores"), [((16, 2), (16,)), ((17, 3), (17,)), ((17, 2), (16,)), ((17,), ())])
def test_arrays_of_another_layout_are_refused(keypoints, scores):
    with pytest.raises(InvalidInputError, match=r"coco-17 takes keypoints \(…, 17, 2\) and scores \(…, 17\)"):
        conversion("coco-17", "lsp-14")(np.zeros(keypoints), np.zeros(scores))


# Results


def result(people=2, **changes):
    poses = [person(COCO_17, seed) for seed in range(people)]
    values = {
        "keypoints": np.array([keypoints for keypoints, _ in poses]).reshape(people, 17, 2),
        "keypoint_scores": np.array([scores for _, scores in poses]).reshape(people, 17),
        "boxes": np.zeros((people, 4)),
        "scores": np.linspace(0.9, 0.5, people),
        "image_size": (100, 100),
        "skeleton": COCO_17,
        "track_ids": np.arange(people),
    }
    return PoseResult(**{**values, **changes})


def test_a_result_keeps_its_people():
    before = result()
    after = before.to_skeleton("mpii-16")
    assert after.skeleton is MPII_16
    np.testing.assert_array_equal(
        after.keypoints, conversion(COCO_17, MPII_16)(before.keypoints, before.keypoint_scores)[0]
    )
    for name in ("boxes", "scores", "track_ids"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.image_size == before.image_size


def test_a_result_of_nobody_can_be_converted():
    assert PoseResult.empty((5, 5)).to_skeleton(LSP_14).keypoints.shape == (0, 14, 2)


def test_to_its_own_layout_a_result_is_the_same():
    np.testing.assert_array_equal(result().to_skeleton("coco-17").keypoints, result().keypoints)


def test_an_unknown_layout_is_refused():
    with pytest.raises(InvalidInputError, match="no skeleton 'halpe-26'"):
        result().to_skeleton("halpe-26")


def test_unknown_keypoints_are_missing_in_every_format():
    converted = result().to_skeleton("mpii-16")
    top = at("head_top", MPII_16)
    told = converted.to_dict()["people"][0]["keypoints"][top]
    assert told == {"name": "head_top", "x": None, "y": None, "score": 0}
    assert converted.to_coco(1)[0]["keypoints"][3 * top : 3 * top + 3] == [0, 0, 0]
    assert converted.to_supervision().xy[0, top].tolist() == [0, 0]
    drawn = converted.plot(np.zeros((100, 100, 3), np.uint8))
    assert drawn.any()

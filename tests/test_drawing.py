"""What a drawing shows, leaves out and survives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mobilepose_sdk.drawing import BOX, CENTRE, LEFT, RIGHT, draw_poses, keypoint_colors, limb_colors
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17

# A standing figure, facing us, in a box of 0..1 by 0..1: its left is on our right.
FIGURE = np.array(
    [
        (0.50, 0.08), (0.55, 0.05), (0.45, 0.05), (0.62, 0.08), (0.38, 0.08), (0.75, 0.22), (0.25, 0.22), (0.88, 0.38),
        (0.12, 0.38), (0.95, 0.52), (0.05, 0.52), (0.65, 0.55), (0.35, 0.55), (0.68, 0.76), (0.32, 0.76), (0.70, 0.95),
        (0.30, 0.95),
    ]
)  # fmt: skip
LEFT_ELBOW, RIGHT_ELBOW, NOSE, LEFT_WRIST = 7, 8, 0, 9


def figure(*boxes: tuple[float, float, float, float], size: tuple[int, int] = (200, 300), **changes: Any) -> PoseResult:
    """The figure, standing in each of the boxes."""
    xyxy = np.array(boxes, dtype=float).reshape(-1, 4)
    values: dict[str, Any] = {
        "keypoints": xyxy[:, None, :2] + FIGURE * (xyxy[:, 2:] - xyxy[:, :2])[:, None],
        "keypoint_scores": np.ones((len(xyxy), 17)),
        "boxes": xyxy,
        "scores": np.ones(len(xyxy)),
        "image_size": size,
        "skeleton": COCO_17,
    }
    return PoseResult(**{**values, **changes})


def canvas(size: tuple[int, int] = (200, 300), value: int = 100) -> np.ndarray:
    return np.full((size[1], size[0], 3), value, np.uint8)


def at(picture: np.ndarray, xy: Any) -> tuple[int, ...]:
    x, y = np.rint(xy).astype(int)
    return tuple(picture[y, x].tolist())


PERSON = (40.0, 40.0, 160.0, 260.0)


class TestWhatIsShown:
    def test_a_copy(self) -> None:
        image = canvas()
        drawn = draw_poses(image, figure(PERSON))
        assert drawn.shape == image.shape and drawn.dtype == np.uint8
        assert (image == 100).all() and (drawn != 100).any()

    def test_sides_have_colours_of_their_own(self) -> None:
        result = figure(PERSON)
        drawn = draw_poses(canvas(), result)
        xy = result.keypoints[0]
        assert (
            at(drawn, xy[LEFT_ELBOW]) == LEFT and at(drawn, xy[RIGHT_ELBOW]) == RIGHT and at(drawn, xy[NOSE]) == CENTRE
        )
        assert at(drawn, (xy[5] + xy[7]) / 2) == LEFT
        assert at(drawn, (xy[6] + xy[8]) / 2) == RIGHT
        assert at(drawn, (xy[5] + xy[6]) / 2) == CENTRE
        assert at(drawn, (40, 150)) == BOX

    def test_people_who_are_followed_have_their_number(self) -> None:
        plain, first, other = (
            draw_poses(canvas(), figure(PERSON, track_ids=ids)) for ids in (None, np.array([1]), np.array([7]))
        )
        changed = np.argwhere((first != plain).any(axis=2))
        assert (changed.min(axis=0) >= 38).all() and (changed.max(axis=0) <= (80, 80)).all()  # a corner of the box
        assert (first != other).any()

    @pytest.mark.parametrize("box", [(-500.0, -400.0, 60.0, 80.0), (195.0, 290.0, 900.0, 900.0)])
    def test_numbers_of_people_who_are_partly_outside_can_be_read(self, box: tuple[float, ...]) -> None:
        inside = draw_poses(canvas(), figure(box, track_ids=np.array([8])), min_score=2)  # type: ignore[arg-type]
        plain = draw_poses(canvas(), figure(box), min_score=2)  # type: ignore[arg-type]
        assert ((inside != plain).any(axis=2)).sum() > 60

    def test_colours_follow_the_names(self) -> None:
        of = dict(zip(COCO_17.names, keypoint_colors(COCO_17), strict=True))
        assert of["left_hip"] == LEFT and of["right_ear"] == RIGHT and of["nose"] == CENTRE
        of_limb = dict(zip(COCO_17.limbs, limb_colors(COCO_17), strict=True))
        assert of_limb[11, 12] == CENTRE and of_limb[0, 1] == LEFT and of_limb[0, 2] == RIGHT

    def test_colours_differ_in_lightness_for_those_who_see_none(self) -> None:
        blue, orange, white = (0.114 * b + 0.587 * g + 0.299 * r for b, g, r in (LEFT, RIGHT, CENTRE))
        assert abs(blue - orange) > 10 and white - max(blue, orange) > 50

    def test_every_person(self) -> None:
        result = figure((10, 40, 90, 260), (110, 40, 190, 260))
        drawn = draw_poses(canvas(), result)
        assert [at(drawn, xy[LEFT_ELBOW]) for xy in result.keypoints] == [LEFT, LEFT]

    def test_the_best_person_is_on_top(self) -> None:
        boxes = [PERSON, (80.0, 40.0, 200.0, 260.0)]
        first = figure(*boxes, scores=[0.9, 0.1])
        alone = draw_poses(canvas(), first[0])
        # Antialiased edges mix with what lies below; full colours do not.
        changed = np.any([(alone == color).all(axis=2) for color in (LEFT, RIGHT, CENTRE)], axis=0)
        assert changed.sum() > 500
        np.testing.assert_array_equal(draw_poses(canvas(), first)[changed], alone[changed])
        np.testing.assert_array_equal(draw_poses(canvas(), first[[1, 0]])[changed], alone[changed])

    def test_lines_grow_with_the_person_and_the_picture(self) -> None:
        def limb_width(size: int, person: int) -> int:
            result = figure((10, 10, 10 + person / 2, 10 + person), size=(size, size))
            drawn = draw_poses(canvas((size, size)), result)
            x, y = np.rint((result.keypoints[0, 5] + result.keypoints[0, 6]) / 2).astype(int)
            column = (drawn[:, x] != 100).any(axis=1)
            above = next(step for step in range(size) if not column[y - step])
            below = next(step for step in range(size) if not column[y + step])
            return above + below - 1

        widths = [limb_width(size, person) for size, person in ((200, 150), (800, 300), (800, 700), (3000, 2500))]
        assert widths == sorted(set(widths)) and widths[0] <= 7 and widths[-1] >= 15

    def test_lines_are_antialiased(self) -> None:
        drawn = draw_poses(canvas(value=0), figure(PERSON))
        assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50

    @pytest.mark.parametrize("shape", [(300, 200), (300, 200, 1), (300, 200, 4)])
    def test_grey_and_four_channel_pictures(self, shape: tuple[int, ...]) -> None:
        drawn = draw_poses(np.full(shape, 100, np.uint8), figure(PERSON))
        np.testing.assert_array_equal(drawn, draw_poses(canvas(), figure(PERSON)))

    def test_a_read_only_picture(self) -> None:
        image = canvas()
        image.flags.writeable = False
        assert (draw_poses(image, figure(PERSON)) != 100).any()


class TestWhatIsLeftOut:
    def test_nobody(self) -> None:
        np.testing.assert_array_equal(draw_poses(canvas(), PoseResult.empty((200, 300))), canvas())

    def test_weak_keypoints_and_their_limbs(self) -> None:
        scores = np.ones((1, 17))
        scores[0, LEFT_WRIST] = 0.29
        result = figure(PERSON, keypoint_scores=scores)
        wrist = result.keypoints[0, LEFT_WRIST]
        middle = (wrist + result.keypoints[0, LEFT_ELBOW]) / 2
        hidden, shown = draw_poses(canvas(), result), draw_poses(canvas(), result, min_score=0.28)
        assert at(hidden, wrist) == at(hidden, middle) == (100, 100, 100)
        assert at(shown, wrist) == at(shown, middle) == LEFT

    def test_a_keypoint_at_the_threshold_is_shown(self) -> None:
        result = figure(PERSON, keypoint_scores=np.full((1, 17), 0.5))
        assert at(draw_poses(canvas(), result, min_score=0.5), result.keypoints[0, NOSE]) == CENTRE

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -3e38, 2e9, 40_000])
    def test_keypoints_that_are_nowhere(self, value: float) -> None:
        keypoints = figure(PERSON).keypoints.copy()
        keypoints[0, LEFT_WRIST] = value
        weak = np.ones((1, 17))
        weak[0, LEFT_WRIST] = 0
        drawn = draw_poses(canvas(), figure(PERSON, keypoints=keypoints))
        np.testing.assert_array_equal(drawn, draw_poses(canvas(), figure(PERSON, keypoint_scores=weak)))

    def test_limbs_to_keypoints_just_outside_are_drawn_to_the_edge(self) -> None:
        keypoints = figure(PERSON).keypoints.copy()
        elbow = keypoints[0, LEFT_ELBOW].copy()
        keypoints[0, LEFT_WRIST] = (300, elbow[1])
        drawn = draw_poses(canvas(), figure(PERSON, keypoints=keypoints))
        assert at(drawn, (199, elbow[1])) == LEFT

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_boxes_that_are_nowhere(self, value: float) -> None:
        drawn = draw_poses(canvas(), figure(PERSON, boxes=[[40, 40, value, 260]]))
        assert at(drawn, (40, 150)) == (100, 100, 100)
        assert (drawn != 100).any()

    def test_the_edges_of_a_huge_box_stay_outside(self) -> None:
        result = figure(PERSON, boxes=[[-1e30, -1e30, 1e30, 1e30]], keypoint_scores=np.zeros((1, 17)))
        np.testing.assert_array_equal(draw_poses(canvas(), result), canvas())

    @settings(max_examples=60, deadline=None)
    @given(
        hnp.arrays(np.float32, (2, 17, 2), elements=st.floats(width=32)),
        hnp.arrays(np.float32, (2, 17), elements=st.floats(width=32)),
        hnp.arrays(np.float32, (2, 4), elements=st.floats(width=32)),
        hnp.arrays(np.float32, 2, elements=st.floats(width=32)),
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
    )
    def test_any_numbers_are_survived(
        self, keypoints: Any, keypoint_scores: Any, boxes: Any, scores: Any, size: tuple[int, int]
    ) -> None:
        result = PoseResult(keypoints, keypoint_scores, boxes, scores, size, COCO_17)
        assert draw_poses(canvas(size), result).shape == (size[1], size[0], 3)


class TestWhatIsRefused:
    def test_a_picture_of_another_size(self) -> None:
        with pytest.raises(InvalidInputError, match="the picture is 300×200, the result is for 200×300"):
            draw_poses(canvas((300, 200)), figure(PERSON))

    def test_a_picture_of_floats(self) -> None:
        with pytest.raises(InvalidInputError, match="uint8"):
            draw_poses(canvas().astype(np.float32), figure(PERSON))

    @pytest.mark.parametrize("value", [float("nan"), "0.5", None])
    def test_a_threshold_that_is_no_number(self, value) -> None:
        with pytest.raises(InvalidInputError, match=f"min_score must be a number, got {value!r}"):
            draw_poses(canvas(), figure(PERSON), min_score=value)

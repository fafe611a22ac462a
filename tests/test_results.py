"""What a result holds, refuses, selects and turns into."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mobilepose_sdk.errors import InvalidIndexError, InvalidInputError, InvalidTypeError, MissingDependencyError
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17, Skeleton

ROOT = str(Path(__file__).resolve().parent.parent)
ARRAYS = ("keypoints", "keypoint_scores", "boxes", "scores", "track_ids")


def arrays(n: int = 3, k: int = 17) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    corners = rng.uniform(0, 200, (n, 2))
    return {
        "keypoints": rng.uniform(-50, 400, (n, k, 2)).astype(np.float32),
        "keypoint_scores": rng.uniform(0, 1, (n, k)).astype(np.float32),
        "boxes": np.concatenate([corners, corners + rng.uniform(10, 90, (n, 2))], axis=1).astype(np.float32),
        "scores": rng.uniform(0, 1, n).astype(np.float32),
        "image_size": (320, 240),
        "skeleton": COCO_17,
        "track_ids": np.arange(10, 10 + n),
    }


def make(n: int = 3, **changes: Any) -> PoseResult:
    return PoseResult(**{**arrays(n), **changes})


def assert_people(result: PoseResult, source: PoseResult, people: list[int]) -> None:
    assert isinstance(result, PoseResult) and len(result) == len(people)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(result, name), getattr(source, name)[people])
    assert result.image_size == source.image_size and result.skeleton == source.skeleton


class TestConstruction:
    @pytest.mark.parametrize("n", [0, 1, 3])
    def test_it_holds_what_it_was_given(self, n: int) -> None:
        given_arrays = arrays(n)
        result = PoseResult(**given_arrays)
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(result, name), given_arrays[name])
            assert getattr(result, name).dtype == (np.int64 if name == "track_ids" else np.float32)
        assert len(result) == n and result.image_size == (320, 240)

    def test_coordinates_outside_the_picture_and_weak_ones_are_kept(self) -> None:
        far = np.full((1, 17, 2), -1234.5)
        result = make(1, keypoints=far, keypoint_scores=np.zeros((1, 17)))
        np.testing.assert_array_equal(result.keypoints, far)

    def test_lists_doubles_and_integers_are_converted(self) -> None:
        given_arrays = arrays()
        result = make(
            keypoints=given_arrays["keypoints"].tolist(),
            boxes=given_arrays["boxes"].astype(np.int32),
            scores=given_arrays["scores"].astype(np.float64),
            track_ids=[1, 2, 3],
            image_size=np.array([320, 240]),
        )
        assert {getattr(result, name).dtype for name in ARRAYS[:4]} == {np.dtype(np.float32)}
        assert result.track_ids is not None and result.track_ids.dtype == np.int64
        assert [type(side) for side in result.image_size] == [int, int]

    def test_a_result_cannot_be_changed(self) -> None:
        result = make()
        for name in ARRAYS:
            with pytest.raises(ValueError, match="read-only"):
                getattr(result, name)[0] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.scores = np.zeros(3, np.float32)  # type: ignore[misc]

    def test_nor_through_the_arrays_it_was_made_of(self) -> None:
        given_arrays = arrays()
        result = PoseResult(**given_arrays)
        kept = {name: getattr(result, name).copy() for name in ARRAYS}
        for name in ARRAYS:
            given_arrays[name][:] = 7
            np.testing.assert_array_equal(getattr(result, name), kept[name])

    def test_without_tracking(self) -> None:
        assert make(track_ids=None).track_ids is None

    def test_empty(self) -> None:
        result = PoseResult.empty((64, 48))
        assert [getattr(result, name).shape for name in ARRAYS[:4]] == [(0, 17, 2), (0, 17), (0, 4), (0,)]
        assert result.image_size == (64, 48) and result.track_ids is None and list(result) == []

    def test_another_skeleton(self) -> None:
        stick = Skeleton("stick", ("head", "foot"), ((0, 1),), (0.1, 0.1))
        result = PoseResult(**{**arrays(2, 2), "skeleton": stick})
        assert result.keypoints.shape == (2, 2, 2)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"keypoints": np.zeros((3, 16, 2))}, r"keypoints must be \(N, 17, 2\), got \(3, 16, 2\)"),
            ({"keypoints": np.zeros((3, 17, 3))}, r"keypoints must be \(N, 17, 2\)"),
            ({"keypoints": np.zeros((17, 2))}, r"keypoints must be \(N, 17, 2\)"),
            ({"keypoints": np.zeros((2, 17, 2))}, r"keypoint_scores must be \(2, 17\), got \(3, 17\)"),
            ({"keypoint_scores": np.zeros((3, 17, 1))}, r"keypoint_scores must be \(3, 17\)"),
            ({"boxes": np.zeros((3, 5))}, r"boxes must be \(3, 4\)"),
            ({"boxes": np.zeros(4)}, r"boxes must be \(3, 4\)"),
            ({"scores": np.zeros((3, 1))}, r"scores must be \(3,\)"),
            ({"track_ids": [1, 2]}, r"track_ids must be \(3,\), got \(2,\)"),
            ({"track_ids": [1.0, 2.0, 3.0]}, "track_ids must be int64, got float64"),
            ({"scores": np.zeros(3, bool)}, "scores must be float32, got bool"),
            ({"scores": np.zeros(3, complex)}, "scores must be float32, got complex128"),
            ({"scores": ["a", "b", "c"]}, "scores must be float32"),
            ({"scores": [None, None, None]}, "scores must be float32, got object"),
            ({"boxes": [[1, 2, 3, 4], [1], [2]]}, r"boxes must be an array \(3, 4\)"),
            ({"image_size": (320,)}, "image_size must be"),
            ({"image_size": (320, 240, 3)}, "image_size must be"),
            ({"image_size": (320.5, 240)}, "image_size must be"),
            ({"image_size": 320}, "image_size must be"),
            ({"image_size": (0, 240)}, "at least 1×1, got 0×240"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidInputError, match=message):
            make(**changes)

    def test_a_skeleton_is_not_its_name(self) -> None:
        with pytest.raises(InvalidTypeError, match="skeleton must be a Skeleton, got str"):
            make(skeleton="coco-17")

    def test_numbers_too_large_for_float32_become_infinite_quietly(self, recwarn: pytest.WarningsRecorder) -> None:
        assert np.isinf(make(1, scores=[1e300]).scores[0])
        assert not recwarn.list


class TestSelection:
    @pytest.mark.parametrize(
        ("index", "people"),
        [
            (0, [0]),
            (-1, [2]),
            (np.int64(1), [1]),
            (np.array(1), [1]),
            (slice(None), [0, 1, 2]),
            (slice(1, None), [1, 2]),
            (slice(None, None, -1), [2, 1, 0]),
            (slice(5, 9), []),
            ([2, 0], [2, 0]),
            ([0, 0], [0, 0]),
            ([], []),
            (np.array([1, -1]), [1, 2]),
            (np.array([1], np.uint8), [1]),
            ([True, False, True], [0, 2]),
            (np.array([False, False, False]), []),
        ],
    )
    def test_people_are_kept_along_the_first_axis(self, index: Any, people: list[int]) -> None:
        result = make()
        assert_people(result[index], result, people)

    def test_by_score(self) -> None:
        result = make(scores=[0.2, 0.9, 0.6])
        np.testing.assert_array_equal(result[result.scores > 0.5].scores, np.float32([0.9, 0.6]))

    def test_without_track_ids(self) -> None:
        assert make(track_ids=None)[0].track_ids is None

    @given(hnp.arrays(bool, 3))
    def test_any_mask(self, mask: np.ndarray) -> None:
        result = make()
        assert_people(result[mask], result, np.nonzero(mask)[0].tolist())

    @pytest.mark.parametrize("index", [3, -4, [0, 3], np.array([-4]), [True, False], np.zeros(4, bool)])
    def test_no_such_person(self, index: Any) -> None:
        with pytest.raises(InvalidIndexError, match="the result has 3"):
            make()[index]

    def test_an_index_error_is_the_builtin_one_too(self) -> None:
        with pytest.raises(IndexError):
            PoseResult.empty((4, 4))[0]

    @pytest.mark.parametrize(
        "index", ["nose", None, 1.0, True, (0, 1), [0.5], ["a"], [[0, 1]], [[0], [1, 2]], np.zeros((3, 1), bool)]
    )
    def test_what_is_no_index(self, index: Any) -> None:
        with pytest.raises(InvalidTypeError, match="people are chosen by"):
            make()[index]

    def test_iteration_yields_one_person_at_a_time(self) -> None:
        result = make()
        assert isinstance(iter(result), Iterator)
        people = list(result)
        assert len(people) == 3
        for index, person in enumerate(people):
            assert_people(person, result, [index])

    def test_truth_is_whether_there_is_anybody(self) -> None:
        assert make(1) and not make(0)


class TestIdentity:
    def test_comparing_does_not_stumble_over_arrays(self) -> None:
        result = make()
        assert result == result
        assert (result == make()) is False
        assert result != 3
        assert result in [make(), result]
        assert len({result, result, make()}) == 2

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
    def test_it_can_be_copied_and_sent_to_another_process(self, copied: Any) -> None:
        result = make()
        assert_people(copied(result), result, [0, 1, 2])
        assert not copied(result).keypoints.flags.writeable

    @pytest.mark.parametrize(
        ("result", "text"),
        [
            (make(0, track_ids=None), "PoseResult(0 people, coco-17, 320×240, scores [])"),
            (make(1, scores=[0.456], track_ids=None), "PoseResult(1 person, coco-17, 320×240, scores [0.46])"),
            (make(2, scores=[1, 0.5]), "PoseResult(2 people, coco-17, 320×240, scores [1.00, 0.50], tracked)"),
        ],
    )
    def test_repr(self, result: PoseResult, text: str) -> None:
        assert repr(result) == text

    def test_repr_stays_short(self) -> None:
        text = repr(make(500))
        assert len(text) < 120 and "500 people" in text and ", …]" in text


class TestDict:
    def test_form(self) -> None:
        result = make(2, scores=[0.987654, 0.5])
        whole = result.to_dict()
        assert list(whole) == ["image_size", "skeleton", "people"]
        assert whole["image_size"] == [320, 240] and whole["skeleton"] == "coco-17"
        person = whole["people"][0]
        assert list(person) == ["box", "score", "track_id", "keypoints"]
        assert person["score"] == 0.9877 and person["track_id"] == 10
        assert [point["name"] for point in person["keypoints"]] == list(COCO_17.names)
        np.testing.assert_allclose(person["box"], result.boxes[0], atol=0.00501)
        xy = [[point["x"], point["y"]] for point in whole["people"][1]["keypoints"]]
        np.testing.assert_allclose(xy, result.keypoints[1], atol=0.00501)
        scores = [point["score"] for point in whole["people"][1]["keypoints"]]
        np.testing.assert_allclose(scores, result.keypoint_scores[1], atol=0.0000501)

    def test_floats_are_short(self) -> None:
        result = make(1, boxes=[[0.1, 0.123456, 1 / 3, 100]])
        assert result.to_dict()["people"][0]["box"] == [0.1, 0.12, 0.33, 100.0]

    def test_nobody(self) -> None:
        assert make(0).to_dict()["people"] == []

    def test_without_tracking(self) -> None:
        assert make(1, track_ids=None).to_dict()["people"][0]["track_id"] is None

    def test_json_is_the_same(self) -> None:
        result = make()
        assert json.loads(result.to_json()) == result.to_dict()
        assert "\n" not in result.to_json() and '\n  "people"' in result.to_json(indent=2)

    @given(st.floats(width=32))
    def test_json_is_valid_for_any_number(self, value: float) -> None:
        result = make(1, scores=[value], keypoints=np.full((1, 17, 2), value))

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        person = json.loads(result.to_json(), parse_constant=refuse)["people"][0]
        assert (person["score"] is None) == (not np.isfinite(value))
        assert (person["keypoints"][0]["x"] is None) == (not np.isfinite(value))


class TestCoco:
    def test_form(self) -> None:
        result = make(2)
        people = result.to_coco(139)
        assert [list(person) for person in people] == [["image_id", "category_id", "keypoints", "score", "bbox"]] * 2
        for index, person in enumerate(people):
            assert person["image_id"] == 139 and person["category_id"] == 1
            points = np.reshape(person["keypoints"], (17, 3))
            np.testing.assert_allclose(points[:, :2], result.keypoints[index], atol=0.000501)
            np.testing.assert_allclose(points[:, 2], result.keypoint_scores[index], atol=1e-6)
            assert person["score"] == pytest.approx(result.scores[index], abs=1e-6)
            x1, y1, x2, y2 = result.boxes[index].tolist()
            np.testing.assert_allclose(person["bbox"], [x1, y1, x2 - x1, y2 - y1], atol=0.001)
        assert json.loads(json.dumps(people)) == people

    def test_ids_are_passed_on(self) -> None:
        (person,) = make(1).to_coco("a.jpg", category_id=7)
        assert person["image_id"] == "a.jpg" and person["category_id"] == 7
        json.dumps(make().to_coco(np.int64(3), np.int32(1)))  # type: ignore[arg-type]

    def test_nobody(self) -> None:
        assert make(0).to_coco(1) == []


def test_another_layout_has_a_name() -> None:
    with pytest.raises(InvalidTypeError, match="a skeleton is a name or a Skeleton, got list"):
        make().to_skeleton(["mpii-16"])  # type: ignore[arg-type]

    def test_what_is_not_finite_is_missing(self) -> None:
        given_arrays = arrays(1)
        given_arrays["keypoints"][0, 3, 0] = np.nan
        given_arrays["boxes"][0, 2] = np.inf
        given_arrays["scores"][0] = np.nan
        (person,) = PoseResult(**given_arrays).to_coco(1)
        points = np.reshape(person["keypoints"], (17, 3))
        assert points[3].tolist() == [0, 0, 0] and (points[4] != 0).all()
        assert person["bbox"] == [0, 0, 0, 0] and person["score"] == 0


class TestSupervision:
    sv = None

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        self.sv = importlib.import_module("supervision")

    def test_values(self) -> None:
        result = make()
        points = result.to_supervision()
        assert isinstance(points, self.sv.KeyPoints) and len(points) == 3
        np.testing.assert_array_equal(points.xy, result.keypoints)
        renamed = hasattr(points, "keypoint_confidence")
        np.testing.assert_array_equal(
            points.keypoint_confidence if renamed else points.confidence, result.keypoint_scores
        )
        if hasattr(points, "detection_confidence"):
            np.testing.assert_array_equal(points.detection_confidence, result.scores)
        np.testing.assert_array_equal(points.data["tracker_id"], result.track_ids)

    def test_its_arrays_may_be_written_to(self) -> None:
        result = make()
        before = result.keypoints.copy()
        result.to_supervision().xy[:] = 0
        np.testing.assert_array_equal(result.keypoints, before)

    def test_nobody_and_no_tracking(self) -> None:
        assert len(make(0).to_supervision()) == 0
        assert "tracker_id" not in make(track_ids=None).to_supervision().data

    def test_its_annotators_take_it(self) -> None:
        canvas = np.zeros((240, 320, 3), np.uint8)
        drawn = self.sv.VertexAnnotator(radius=4).annotate(canvas.copy(), make().to_supervision())
        assert drawn.any()


class TestDataframe:
    pandas = None

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        self.pandas = importlib.import_module("pandas")

    def test_one_row_a_person_and_keypoint(self) -> None:
        result = make(2)
        frame = result.to_dataframe()
        assert len(frame) == 2 * 17
        row = frame[(frame.person == 1) & (frame.keypoint == "left_wrist")].iloc[0]
        wrist = COCO_17.names.index("left_wrist")
        np.testing.assert_array_equal([row.x, row.y], result.keypoints[1, wrist])
        assert row.score == result.keypoint_scores[1, wrist] and row.person_score == result.scores[1]
        np.testing.assert_array_equal([row.x1, row.y1, row.x2, row.y2], result.boxes[1])
        assert row.track_id == 11

    def test_columns_are_the_same_for_nobody(self) -> None:
        nobody, somebody = make(0).to_dataframe(), make(2).to_dataframe()
        assert len(nobody) == 0 and list(nobody.columns) == list(somebody.columns)
        assert nobody.dtypes["x"] == somebody.dtypes["x"] == np.float32
        assert nobody.dtypes["track_id"] == somebody.dtypes["track_id"] == "Int64"

    def test_track_ids_are_missing_without_tracking(self) -> None:
        assert make(track_ids=None).to_dataframe().track_id.isna().all()


@pytest.mark.parametrize("library", ["supervision", "pandas"])
class TestOptionalLibraries:
    def test_a_missing_one_is_named_with_the_pip_line(self, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, library, None)
        method = {"supervision": "to_supervision", "pandas": "to_dataframe"}[library]
        with pytest.raises(MissingDependencyError, match=rf"{method}\(\) needs {library}: pip install {library}"):
            getattr(make(), method)()

    def test_it_is_imported_only_when_asked_for(self, library: str) -> None:
        code = f"import sys, mobilepose_sdk.results; sys.exit({library!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}).returncode == 0


class TestPlot:
    def test_a_drawn_copy(self) -> None:
        canvas = np.full((240, 320, 3), 90, np.uint8)
        drawn = make(keypoint_scores=np.ones((3, 17))).plot(canvas)
        assert drawn.shape == canvas.shape and drawn.dtype == np.uint8 and drawn.flags.c_contiguous
        assert (drawn != canvas).any() and (canvas == 90).all()

    def test_the_channel_order_of_the_picture_is_kept(self) -> None:
        canvas = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
        result = make(keypoint_scores=np.ones((3, 17)))
        rgb = result.plot(canvas[:, :, ::-1], color="rgb")
        np.testing.assert_array_equal(rgb[:, :, ::-1], result.plot(canvas))
        assert rgb.flags.c_contiguous

    def test_min_score_is_passed_on(self) -> None:
        canvas = np.zeros((240, 320, 3), np.uint8)
        result = make(keypoint_scores=np.full((3, 17), 0.25))
        assert (result.plot(canvas, min_score=0.2) != result.plot(canvas)).any()

    def test_any_form_of_picture(self, tmp_path: Any) -> None:
        from PIL import Image

        canvas = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(canvas[:, :, ::-1]).save(tmp_path / "a.png")
        np.testing.assert_array_equal(make().plot(tmp_path / "a.png"), make().plot(canvas))


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    result = make()
    result.to_json(), result.to_coco(1), result.plot(np.zeros((240, 320, 3), np.uint8)), result[0], repr(result)
    assert capsys.readouterr() == ("", "")

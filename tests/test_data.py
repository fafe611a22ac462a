"""Folders for ``--data``: what is filled in, and what is said of those that do not do."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from converters.__main__ import main
from converters.catalogue import DESIGNS
from converters.data import measured_sources, read_data, whole_pictures
from converters.packaging import pose_figures
from converters.quantization import calibration_inputs
from converters.training.command import clean
from converters.training.pictures import PicturePack
from converters.training.pose import PoseTask
from converters.training.recipes.bottom_up import BottomUpTask
from converters.training.validation import DetectionValidation
from converters.weights import training_facts
from mobilepose_sdk.errors import InvalidInputError, OutputError, SourceNotFoundError, SourceReadError
from mobilepose_sdk.evaluation import Evaluation


def change(file: Path, of_images=None, of_people=None, **content) -> None:
    """Fields of all images, of all people and of the file; one that is None is taken out."""
    was = json.loads(file.read_text())
    for entries, fields in ((was["images"], of_images or {}), (was["annotations"], of_people or {}), ([was], content)):
        for one in entries:
            one.update(fields)
            for name in [name for name, value in fields.items() if value is None]:
                del one[name]
    file.write_text(json.dumps(was))


@pytest.fixture
def plain(folder):
    """COCO's own fields alone."""
    for name in ("train.json", "dev.json"):
        change(folder / name, {"source": None, "all_people_annotated": None})
    return folder


def test_cocos_own_fields_are_enough(plain):
    content = read_data(plain / "train.json")
    assert all(image["source"] is None and image["all_people_annotated"] for image in content["images"])
    assert measured_sources(image["source"] for image in content["images"]) == (None, None)


def test_both_figures_are_of_all_pictures_where_there_are_no_parts(plain, monkeypatch):
    validation = PoseTask(plain)._validation
    assert len(validation.pck_people) == len(validation.ap_people) == len(validation.ap_images) == 6
    assert len(BottomUpTask(plain)._validation.images) == len(DetectionValidation(plain).images) == 6
    measured = Evaluation({"all": {"PCK@0.2": 0.5, "AP": 0.25}}, {}, [])
    monkeypatch.setattr("converters.packaging.evaluate_poses", lambda *_, **__: measured)
    assert pose_figures(None, plain) == {"PCK@0.2": 0.5, "AP": 0.25}


def test_each_figure_is_of_its_part_where_there_are_both(folder):
    validation = PoseTask(folder)._validation
    assert [person.id for person in validation.pck_people] == [1, 2, 3]
    assert [person.id for person in validation.ap_people] == validation.ap_images == [4, 5, 6]


@pytest.mark.parametrize("name", ["lpn-50", "efficienthrnet-h-4", "person-detector"])
def test_everything_that_trains_and_calibrates_reads_them(plain, tmp_path, name):
    design = DESIGNS[name]
    samples = design.task(plain).samples(design.recipe.stages[0], seed=0)
    assert len(samples) % 6 == 0  # some people are shown more than once an epoch
    assert len(samples[0]) and len(calibration_inputs(plain, design)) == 6
    (tmp_path / "log.jsonl").write_text(json.dumps({"samples": 1, "minutes": 1}))
    assert training_facts(design, tmp_path, plain, "train", 0, None)["data"] == {"unnamed": {"pictures": 6}}


def test_a_picture_with_a_crowd_is_not_wholly_annotated(plain):
    change(plain / "train.json", annotations=[
        {**person, "iscrowd": int(person["id"] == 2)}
        for person in json.loads((plain / "train.json").read_text())["annotations"]
    ])  # fmt: skip
    assert [image["id"] for image in whole_pictures(read_data(plain / "train.json"))] == [1, 3, 4, 5, 6]
    samples = PoseTask(plain).samples(DESIGNS["lpn-50"].recipe.stages[0], seed=0)
    assert {person.id for person in samples.people} == {1, 3, 4, 5, 6}


def test_annotations_of_pictures_that_are_not_listed_are_left_out(folder):
    images = json.loads((folder / "train.json").read_text())["images"][:2]
    change(folder / "train.json", images=images)
    assert [person["id"] for person in read_data(folder / "train.json")["annotations"]] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of_people": {"keypoints": [1] * 42}}, "people of 42 keypoint numbers"),
        ({"of_people": {"keypoints": [1] * 48}}, "is of mpii-16; accepted: coco-17"),
        ({"of_people": {"bbox": None}}, "annotation 1 lacks bbox"),
        ({"of_people": {"keypoint_weights": [1] * 16}}, "accepted: 17 numbers of at least 0, how far"),
        ({"of_people": {"keypoint_weights": [-1] * 17}}, "accepted: 17 numbers of at least 0, how far"),
        ({"of_images": {"all_people_annotated": 1}}, "all_people_annotated 1; accepted: true or false"),
        ({"annotations": []}, "no person with labelled keypoints"),
    ],
)
def test_a_file_that_does_not_do_is_refused_before_anything_is_read(folder, changes, message):
    change(folder / "train.json", **changes)
    with pytest.raises(InvalidInputError, match=message):
        PoseTask(folder).samples(DESIGNS["lpn-50"].recipe.stages[0], seed=0)


def test_people_of_whom_too_little_is_labelled_are_nobody(folder):
    triples = np.zeros((17, 3))
    triples[:3] = 50, 50, 2
    change(folder / "train.json", of_people={"keypoints": triples.ravel().tolist()})
    with pytest.raises(InvalidInputError, match="nobody of whom 4 keypoints or more are labelled"):
        PoseTask(folder).samples(DESIGNS["lpn-50"].recipe.stages[0], seed=0)


@pytest.mark.parametrize("name", ["efficienthrnet-h-4", "person-detector"])
def test_networks_of_whole_pictures_say_what_they_need(folder, name):
    change(folder / "train.json", {"all_people_annotated": False})
    with pytest.raises(InvalidInputError, match="pictures in which everybody is annotated, and the data has none"):
        DESIGNS[name].task(folder).samples(DESIGNS[name].recipe.stages[0], seed=0)


@pytest.mark.parametrize(
    ("content", "error"), [(None, SourceNotFoundError), (b"", SourceReadError), (b"no picture", SourceReadError)]
)
def test_a_picture_that_is_none_is_named(folder, content, error):
    picture = folder / "images" / "3.png"
    picture.unlink() if content is None else picture.write_bytes(content)
    with pytest.raises(error, match="3.png"):
        PoseTask(folder).samples(DESIGNS["lpn-50"].recipe.stages[0], seed=0)


def test_a_picture_that_was_replaced_is_decoded_anew(folder):
    content = read_data(folder / "train.json")
    before = PicturePack(content, folder / "images")[1].copy()
    cv2.imwrite(str(folder / "images" / "1.png"), np.full((20, 30, 3), 77, np.uint8))
    assert before.shape == (160, 160, 3)
    assert (PicturePack(content, folder / "images")[1] == np.full((20, 30, 3), 77)).all()


def test_pictures_that_cannot_be_read_leave_nothing_in_the_cache(folder):
    (folder / "images" / "6.png").write_bytes(b"no picture")
    with pytest.raises(SourceReadError):
        PicturePack(read_data(folder / "train.json"), folder / "images")
    assert not list((folder / "cache").iterdir())


def test_cleaned_labels_need_a_place_before_anybody_is_looked_at(folder, tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        clean("lpn-50", folder, tmp_path / "none" / "labels.json")


def test_the_program_says_it_in_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "lpn-50", "--data", str(tmp_path), "--samples", "1", "--run", str(tmp_path / "run")])
    assert stopped.value.code == 3
    assert "no annotation file" in capsys.readouterr().err

"""Which COCO files can be measured, and what is said of the others."""

from __future__ import annotations

import json

import pytest
from coco_people import BOXES, HEIGHT, WIDTH, Knowing, dataset, entry, evaluate, mpii, scattered

from mobilepose_sdk.coco_files import read_annotations, read_boxes, read_poses
from mobilepose_sdk.errors import InvalidInputError, SourceNotFoundError
from mobilepose_sdk.skeleton import CROWDPOSE_14, LSP_14, MPII_16


@pytest.mark.parametrize("skeleton", [CROWDPOSE_14, LSP_14, MPII_16], ids=lambda skeleton: skeleton.name)
def test_a_files_skeleton_is_the_one_it_names(tmp_path, skeleton):
    assert read_poses(scattered(tmp_path, skeleton)[0]).skeleton is skeleton


def test_16_keypoints_without_names_are_mpiis(tmp_path):
    assert read_poses(mpii(tmp_path, names=())).skeleton is MPII_16


def test_crowdpose_has_no_areas_of_its_own(tmp_path):
    truth, _ = scattered(tmp_path, CROWDPOSE_14)
    content = json.loads(truth.read_text())
    for person in content["annotations"]:
        del person["area"]
    truth.write_text(json.dumps(content))
    people = read_poses(truth).content["annotations"]
    assert all(person["area"] == pytest.approx(0.53 * person["bbox"][2] * person["bbox"][3]) for person in people)


def second_person(**changes) -> dict:
    return {"annotations": [entry(5, 10, BOXES[0]), {**entry(6, 10, BOXES[1]), **changes}]}


def second_image(**changes) -> dict:
    return {"images": [{"id": 10, "file_name": "10.png"}, {"id": 20, "file_name": "20.png", **changes}]}


WITHOUT_PEOPLE = {"annotations": []}
BROKEN = {
    "nobody": (WITHOUT_PEOPLE, "no person with labelled keypoints"),
    "no categories": ({"categories": []}, "needs 'categories'"),
    "boxes only": (
        {"annotations": [{"id": 5, "image_id": 10, "bbox": [0, 0, 9, 9]}]},
        "annotation 5 lacks category_id, area",
    ),
    "14 keypoints": (
        {"annotations": [entry(5, 10, BOXES[0], keypoints=[1] * 42)]},
        r"people of 42 keypoint numbers.*coco-17 \(17\); crowdpose-14 \(14\); lsp-14 \(14\).*named in categories",
    ),
    "5 keypoints": (
        {"annotations": [entry(5, 10, BOXES[0]), entry(6, 10, BOXES[0], keypoints=[1] * 15)]},
        "annotation 6 has the keypoints.*15 values.*accepted: 51.*coco-17",
    ),
    "images null": ({"images": None}, "people.json' has the images None; accepted: a list of objects"),
    "an image without an id": ({"images": [{"file_name": "10.png"}]}, "the image at index 0 lacks id"),
    "an image without a name": ({"images": [{"id": 10}]}, "image 10 lacks file_name"),
    "an image's name a number": (second_image(file_name=5), "image 20 has the file_name 5; accepted: a text"),
    "an image's source a number": (
        second_image(source=5),
        "image 20 has the source 5; accepted: a text other than 'all', or null",
    ),
    "an image's source all": (second_image(source="all"), "image 20 has the source 'all'; accepted: a text other"),
    "two images with one id": (
        {"images": [{"id": 10, "file_name": f"{n}.png"} for n in (10, 20)]},
        "2 images have the id 10; where files are put together, give their images new ids",
    ),
    "ids of two kinds": (second_image(id="twenty"), "image ids that are numbers and some that are texts"),
    "people of no image": (
        {"images": [{"id": "10", "file_name": "10.png"}]},
        "no person with labelled keypoints in a picture that it lists: image_id is 10 in the first.*is not '1'",
    ),
    "an image's id a list": (second_image(id=[20]), r"the image at index 1 has the id \[20\]; accepted: a number"),
    "categories an object": ({"categories": {"id": 1}}, "has the categories.*accepted: a list of objects"),
    "a category without an id": ({"categories": [{"name": "person"}]}, "the category at index 0 lacks id"),
    "a category's keypoints null": (
        {"categories": [{"id": 1, "keypoints": None}]},
        "category 1 has the keypoints None",
    ),
    "annotations null": ({"annotations": None}, "has the annotations None; accepted: a list of objects"),
    "annotations texts": ({"annotations": ["x"]}, r"has the annotations \['x'\]; accepted: a list of objects"),
    "an id a list": (second_person(id=[6]), r"the annotation at index 1 has the id \[6\]"),
    "an id a text": (second_person(id="six"), "annotation 'six' has the id 'six'; accepted: a finite number"),
    "an image_id a list": (second_person(image_id=[10]), r"annotation 6 has the image_id \[10\]"),
    "keypoints null": (
        second_person(keypoints=None),
        "annotation 6 has the keypoints None; accepted: 51 finite numbers",
    ),
    "keypoints texts": (second_person(keypoints=["1"] * 51), "annotation 6 has the keypoints.*accepted: 51"),
    "an area null": (
        second_person(area=None),
        "annotation 6 has the area None; accepted: a finite number of at least 0",
    ),
    "an area a text": (second_person(area="9"), "annotation 6 has the area '9'"),
    "iscrowd null": (second_person(iscrowd=None), "annotation 6 has the iscrowd None; accepted: 0 or 1"),
    "a box of 3 numbers": (second_person(bbox=[0, 0, 9]), r"annotation 6 has the bbox \[0, 0, 9\]; accepted: 4 finite"),
    "a head of 3 numbers": (second_person(bbox_head=[0, 0, 9]), "annotation 6 has the bbox_head.*accepted: 4.*or null"),
    "a box without an area": (
        second_person(bbox=[10, 10, 0, 5]),
        r"people.json': annotation 6 has labelled keypoints and the bbox \[10, 10, 0, 5\]; accepted: a width",
    ),
    "a box outside its picture": (second_person(bbox=[WIDTH, 0, 9, 9]), "annotation 6.*not wholly outside the picture"),
}


@pytest.mark.parametrize(("changes", "message"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_measured_is_refused_before_any_picture_is_read(tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        evaluate(dataset(tmp_path, **changes), estimator=None)


UNLABELLED = {"keypoints": [0] * 51, "num_keypoints": 0}
ACCEPTED = {
    "an unlabelled person's box without an area": second_person(bbox=[10, 10, 0, 5], **UNLABELLED),
    "a crowd's box without an area": second_person(bbox=[10, 10, 0, 5], iscrowd=1),
    "a crowd's segmentation": second_person(iscrowd=1, segmentation={"counts": [9], "size": [3, 3]}),
    "a head null": second_person(bbox_head=None),
    "a picture of unknown size": second_person(bbox=[9999, 0, 9, 9]) | second_image(),
    "a picture lying on its side": second_person(bbox=[0, HEIGHT, 9, 9]),
    "names for pictures' ids": {
        "images": [{"id": "ten", "file_name": "10.png"}],
        "annotations": [entry(5, "ten", BOXES[0])],
    },
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_what_does_no_harm_is_measured(tmp_path, changes):
    assert evaluate(dataset(tmp_path, **changes), Knowing()).figures["all"]["pictures"] == 1


def test_a_source_null_is_none(tmp_path):
    file = dataset(tmp_path, **second_image(source=None))
    assert list(evaluate(file, Knowing()).figures) == ["all"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"images": []}'], ids=repr)
def test_what_is_no_coco_file_is_refused(tmp_path, content):
    (tmp_path / "people.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"people\.json"):
        read_annotations(tmp_path / "people.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"nothing\.json"):
        read_annotations(tmp_path / "nothing.json")


# Boxes alone


PERSON_AND_DOG = {"categories": [{"id": 7, "name": "dog"}, {"id": 1, "name": "person"}]}


def test_of_several_categories_people_alone_are_read(tmp_path):
    dog = {"id": 9, "image_id": 20, "category_id": 7, "bbox": [1, 2, 3, 4]}
    people = [entry(5, 10, BOXES[0]), dog, {"image_id": 20, "category_id": 1, "bbox": [5, 6, 7, 8]}]
    boxes = read_boxes(dataset(tmp_path, annotations=people, **PERSON_AND_DOG))
    assert {key: [person["bbox"] for person in found] for key, found in boxes.people.items()} == {
        10: [people[0]["bbox"]],
        20: [[5, 6, 7, 8]],
    }


def test_without_categories_everybody_is_a_person(tmp_path):
    people = [{"image_id": 10, "bbox": [1, 2, 3, 4]}]
    assert read_boxes(dataset(tmp_path, annotations=people, categories=[])).people == {10: people}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"image_id": 10}]}, "the annotation at index 0 lacks bbox"),
        ({"annotations": [{"image_id": 10, "bbox": [1, 2, 3, None]}]}, "accepted: 4 finite numbers, x, y, width"),
        ({"annotations": [{"image_id": 10, "bbox": [1, 2, 3, 4]}], **PERSON_AND_DOG}, "index 0 lacks category_id"),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 2}]}, "has 2 categories, 'cat', None.*named 'person'"),
        ({"images": [{"id": 10, "file_name": "10.png"}]}, "image 10 lacks height"),
        (
            {"images": [{"id": 10, "file_name": "10.png", "height": 9, "all_people_annotated": "no"}]},
            "all_people_annotated 'no'; accepted: true or false",
        ),
    ],
)
def test_a_file_without_peoples_boxes_is_refused(tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        read_boxes(dataset(tmp_path, **changes))

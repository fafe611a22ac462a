"""What ``--data`` names: ``train.json`` and ``dev.json``, people in COCO's keypoint format, and ``images/``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mobilepose_sdk.coco_files import EVERYBODY, check_each, read_poses
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.fields import Accepted, is_number
from mobilepose_sdk.skeleton import COCO_17

PCK_SOURCE, AP_SOURCE = "lsp", "coco2017_train2017"
"""The parts of dev.json that the two quoted figures are measured on, where it has both."""
WEIGHTS = {
    "keypoint_weights": Accepted(
        f"{len(COCO_17)} numbers of at least 0, how far each keypoint's label is trusted",
        lambda value: (
            isinstance(value, list)
            and len(value) == len(COCO_17)
            and all(is_number(weight) and weight >= 0 for weight in value)
        ),
    )
}


def read_data(path: Path) -> dict[str, Any]:
    """``train.json`` or ``dev.json``, checked.

    Beyond COCO's fields an image may have a ``source``, which names the set it belongs to, and
    ``all_people_annotated``; without the latter everybody is, unless a crowd is marked. An annotation may have
    ``keypoint_weights``, which say how far its labels are trusted.

    Returns:
        the parsed file; each image has a ``source``, perhaps None, and ``all_people_annotated``, and annotations of
        images that are not listed are gone.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is not COCO keypoints, or not of COCO's 17, or holds no labelled person.
    """
    poses = read_poses(path)
    if poses.skeleton is not COCO_17:
        raise InvalidInputError(f"{os.fspath(path)!r} is of {poses.skeleton.name}; accepted: {COCO_17.name}")
    check_each("image", poses.content["images"], path, {}, EVERYBODY)
    check_each("annotation", poses.content["annotations"], path, {}, WEIGHTS)
    listed = {image["id"] for image in poses.content["images"]}
    annotations = [entry for entry in poses.content["annotations"] if entry["image_id"] in listed]
    crowded = {entry["image_id"] for entry in annotations if entry["iscrowd"]}
    images = [
        {"source": None, "all_people_annotated": image["id"] not in crowded, **image}
        for image in poses.content["images"]
    ]
    return {**poses.content, "images": images, "annotations": annotations}


def measured_sources(sources: Iterable[str | None]) -> tuple[str | None, str | None]:
    """Of which source PCK and AP are, in a file of these; None, of all pictures, where it does not have both parts."""
    return (PCK_SOURCE, AP_SOURCE) if {PCK_SOURCE, AP_SOURCE} <= {*sources} else (None, None)


def whole_pictures(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The images in which everybody is annotated.

    Raises:
        InvalidInputError: there is none.
    """
    images = [image for image in content["images"] if image["all_people_annotated"]]
    if not images:
        raise InvalidInputError(
            "a detector and a bottom-up network learn from pictures in which everybody is annotated, and the data has "
            "none: their all_people_annotated is false, or they show crowds"
        )
    return images

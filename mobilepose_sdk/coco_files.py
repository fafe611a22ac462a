"""COCO keypoint files: people's annotations, and results of any estimator, checked before anything is measured."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import checked_boxes
from mobilepose_sdk.errors import InvalidInputError, SourceNotFoundError
from mobilepose_sdk.fields import (
    NUMBER,
    OBJECTS,
    TEXT,
    Accepted,
    Fields,
    check_fields,
    is_number,
    list_of,
    numbers,
    shown,
)
from mobilepose_sdk.skeleton import COCO_17, CROWDPOSE_14, MPII_16, SKELETONS, Skeleton

Array = NDArray[Any]
FilePath = str | os.PathLike[str]
HEAD_BOX = "bbox_head"
"""An annotation's head box [x, y, width, height], where PCKh is wanted; PoseTrack's name for it."""
ID = Accepted("a number or a text", lambda value: isinstance(value, str) or is_number(value))
BOX = numbers(4, "x, y, width and height")
IMAGE = {"id": ID, "file_name": TEXT}
ALL = "all"
"""How figures of all pictures are called, beside those of each source."""
IMAGE_OPTIONS = {
    "source": Accepted(
        f"a text other than {ALL!r}, or null", lambda value: value is None or (TEXT.fits(value) and value != ALL)
    )
}
CATEGORY = {"id": ID}
CATEGORY_OPTIONS = {"keypoints": list_of("texts, the keypoints' names", TEXT.fits)}
CROWD = Accepted("0 or 1", lambda value: value in (0, 1))
PERSON = {
    "id": NUMBER,
    "image_id": ID,
    "category_id": ID,
    "bbox": BOX,
    "area": Accepted("a finite number of at least 0", lambda value: is_number(value) and value >= 0),
    "iscrowd": CROWD,
    "num_keypoints": NUMBER,
}
"""What pycocotools reads of every person, beside the keypoints."""
PERSON_OPTIONS = {HEAD_BOX: Accepted(f"{BOX.words}, or null", lambda value: value in (None, []) or BOX.fits(value))}
BOX_IMAGE = {"height": Accepted("a number above 0", lambda value: is_number(value) and value > 0)}
EVERYBODY = {"all_people_annotated": Accepted("true or false", lambda value: isinstance(value, bool))}
"""Whether nobody in an image lacks an annotation."""
BOXED = {"image_id": ID, "bbox": BOX}
"""What is read of people whose boxes alone are asked for."""
RESULT = {"image_id": ID, "category_id": ID, "score": NUMBER}
"""What COCO's results format has, beside the keypoints."""
CROWDPOSE_AREA = 0.53
"""CrowdPose's annotations have no area: its evaluation takes this share of the box."""


@dataclass(frozen=True)
class PoseAnnotations:
    """The people of a COCO keypoint file.

    Attributes:
        content: the parsed file.
        skeleton: layout of its keypoints.
        people: annotations with at least one labelled keypoint, without crowds, by ``image_id``.
    """

    content: dict[str, Any]
    skeleton: Skeleton
    people: dict[int, list[dict[str, Any]]]


def read_poses(path: FilePath) -> PoseAnnotations:
    """An annotation file of any of the skeletons of :data:`mobilepose_sdk.skeleton.SKELETONS`.

    The layout is the one whose names the file's first category lists; without such a list 17 keypoints are COCO's and
    16 are MPII's.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is not COCO keypoints, holds no labelled person, or one whose box cannot be cropped.
    """
    content = read_annotations(path)
    if not content.get("categories"):
        raise InvalidInputError(f"{os.fspath(path)!r} is not a COCO keypoint file: it needs 'categories'")
    check_fields(repr(os.fspath(path)), content, {"categories": OBJECTS})
    check_each("category", content["categories"], path, CATEGORY, CATEGORY_OPTIONS)
    skeleton = _file_skeleton(content, path)
    if skeleton is CROWDPOSE_14:
        content = {**content, "annotations": [_with_area(entry) for entry in content["annotations"]]}
    person = {**PERSON, **_keypoints(skeleton, "visibility")}
    check_each("annotation", content["annotations"], path, person, PERSON_OPTIONS)
    people = _labelled_people(content["annotations"])
    if not people:
        raise InvalidInputError(f"{os.fspath(path)!r} holds no person with labelled keypoints")
    if not any(image["id"] in people for image in content["images"]):
        raise InvalidInputError(
            f"{os.fspath(path)!r} holds no person with labelled keypoints in a picture that it lists: image_id is "
            f"{shown(next(iter(people)))} in the first annotation, and 1 is not '1'"
        )
    _check_boxes(content["images"], people, path)
    return PoseAnnotations(content, skeleton, people)


@dataclass(frozen=True)
class BoxAnnotations:
    """The people of a COCO file, keypoints or not.

    Attributes:
        images: the pictures in which everybody is annotated.
        people: annotations, crowds among them, by ``image_id``.
    """

    images: list[dict[str, Any]]
    people: dict[Any, list[dict[str, Any]]]


def read_boxes(path: FilePath) -> BoxAnnotations:
    """An annotation file of people, or of things of which one category is called ``person``.

    Everybody is annotated in an image unless its ``all_people_annotated`` is false.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is not COCO's, has no people among several categories, or an entry lacks what is needed.
    """
    content = read_annotations(path)
    check_each("image", content["images"], path, BOX_IMAGE, EVERYBODY)
    images = [image for image in content["images"] if image.get("all_people_annotated", True)]
    return BoxAnnotations(images, by_image(_of_people(content, path)))


def read_annotations(path: FilePath) -> dict[str, Any]:
    """A parsed COCO file.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is not JSON with ``images`` and ``annotations``, or an image's fields are not COCO's.
    """
    content = read_json(path, "annotation file")
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise InvalidInputError(f"{os.fspath(path)!r} is not a COCO file: it needs 'images' and 'annotations'")
    check_fields(repr(os.fspath(path)), content, {"images": OBJECTS, "annotations": OBJECTS})
    check_each("image", content["images"], path, IMAGE, IMAGE_OPTIONS)
    _check_ids([image["id"] for image in content["images"]], path)
    return content


def _check_ids(ids: list[Any], path: FilePath) -> None:
    """Whether every image has an id of its own, all of a kind: pycocotools sorts them."""
    if any(isinstance(one, str) != isinstance(ids[0], str) for one in ids):
        raise InvalidInputError(f"{os.fspath(path)!r} has image ids that are numbers and some that are texts")
    counts = Counter(ids)
    if len(counts) < len(ids):
        (twice, count), *_ = counts.most_common(1)
        raise InvalidInputError(
            f"{os.fspath(path)!r}: {count} images have the id {shown(twice)}; where files are put together, give their "
            "images new ids"
        )


def read_results(path: FilePath, skeleton: Skeleton) -> list[dict[str, Any]]:
    """A file of COCO keypoint results, as it stands.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is no list of results with the skeleton's keypoints.
    """
    results = read_json(path, "results file")
    if not isinstance(results, list) or not all(isinstance(entry, dict) for entry in results):
        raise InvalidInputError(f"{os.fspath(path)!r} is not a COCO results file: it must be a list of objects")
    fields = {**RESULT, **_keypoints(skeleton, "score")}
    for number, entry in enumerate(results):
        place = f"{os.fspath(path)!r}: result {number}"
        check_fields(place, entry, fields)
        if ("bbox" in entry) != ("bbox" in results[0]) or not BOX.fits(entry.get("bbox", [0] * 4)):
            raise InvalidInputError(f"{place}: either all results have a bbox [x, y, width, height], or none has")
    return results


def by_image(entries: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    """Annotations or results by their ``image_id``."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for entry in entries:
        found.setdefault(entry["image_id"], []).append(entry)
    return found


def xyxy(entries: list[dict[str, Any]], name: str = "bbox") -> NDArray[np.float64]:
    """(N, 4) boxes of annotations or results, pixels; NaN where an entry has none."""
    boxes = np.array([entry.get(name) or [np.nan] * 4 for entry in entries], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def triples(entries: list[dict[str, Any]]) -> NDArray[np.float64]:
    """(N, K, 3) x, y and visibility, or score, of annotations or results, of which there is at least one."""
    return np.array([entry["keypoints"] for entry in entries], dtype=np.float64).reshape(len(entries), -1, 3)


def read_json(path: FilePath, what: str) -> Any:
    """A parsed file; ``what`` is how the error calls it.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"no {what} {os.fspath(path)!r}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{os.fspath(path)!r} is not a JSON file: {error}") from error


def _file_skeleton(content: dict[str, Any], path: FilePath) -> Skeleton:
    names = tuple(content["categories"][0].get("keypoints", ()))
    for skeleton in SKELETONS.values():
        if skeleton.names == names:
            return skeleton
    values = len(
        next((listed for entry in content["annotations"] if isinstance(listed := entry.get("keypoints"), list)), ())
    )
    for skeleton in (COCO_17, MPII_16):
        if values in (0, 3 * len(skeleton)):  # nobody at all is said later
            return skeleton
    known = "; ".join(f"{skeleton.name} ({len(skeleton)})" for skeleton in SKELETONS.values())
    raise InvalidInputError(
        f"{os.fspath(path)!r} has people of {values} keypoint numbers, x, y and visibility of each, in no known order; "
        f"accepted: {known}, named in categories[0]['keypoints'] where there are 14"
    )


def _keypoints(skeleton: Skeleton, third: str) -> Fields:
    return {"keypoints": numbers(3 * len(skeleton), f"x, y and {third} of each keypoint of {skeleton.name}")}


def _with_area(person: dict[str, Any]) -> dict[str, Any]:
    """One of CrowdPose's people as the others have them; a box that is none is said later."""
    _, _, width, height = person["bbox"] if BOX.fits(person.get("bbox")) else (0, 0, 0, 0)
    return {"iscrowd": 0, **person, "area": CROWDPOSE_AREA * width * height}


def check_each(what: str, entries: list[Any], path: FilePath, required: Fields, optional: Fields) -> None:
    """Whether the SDK and pycocotools can read a list: found out before the pictures are looked at."""
    for number, entry in enumerate(entries):
        name = f"{what} {shown(entry['id'])}" if ID.fits(entry.get("id")) else f"the {what} at index {number}"
        check_fields(f"{os.fspath(path)!r}: {name}", entry, required, optional)


def _check_boxes(images: list[dict[str, Any]], people: dict[int, list[dict[str, Any]]], path: FilePath) -> None:
    """Whether people's boxes can be cropped from their pictures, as far as the file says how large these are."""
    for image in images:
        reach = _longer_side(image)
        for entry in people.get(image["id"], []):
            try:
                checked_boxes(xyxy([entry]), (reach, reach))
            except InvalidInputError as error:
                raise InvalidInputError(
                    f"{os.fspath(path)!r}: annotation {shown(entry['id'])} has labelled keypoints and the bbox "
                    f"{shown(entry['bbox'])}; accepted: a width and a height above 0, not wholly outside the picture"
                ) from error


def _of_people(content: dict[str, Any], path: FilePath) -> list[dict[str, Any]]:
    """Annotations of people: all of a file without categories, or with one."""
    check_fields(repr(os.fspath(path)), content, {}, {"categories": OBJECTS})
    categories = content.get("categories", [])
    check_each("category", categories, path, {"id": ID}, {})
    several = len(categories) > 1
    wanted = [category["id"] for category in categories if category.get("name") == "person"]
    if several and not wanted:
        names = ", ".join(shown(category.get("name")) for category in categories[:5])
        raise InvalidInputError(
            f"{os.fspath(path)!r} has {len(categories)} categories, {names} among them; accepted: one, or several of "
            "which one is named 'person'"
        )
    required: Fields = {**BOXED, "category_id": ID} if several else BOXED
    check_each("annotation", content["annotations"], path, required, {"iscrowd": CROWD})
    return [entry for entry in content["annotations"] if not several or entry["category_id"] in wanted]


def _longer_side(image: dict[str, Any]) -> int:
    """Pixels; no limit where the file does not say. Which side it is depends on the EXIF rotation."""
    sides = [image[name] for name in ("width", "height") if is_number(image.get(name)) and image[name] > 0]
    return max(sides) if len(sides) == 2 else sys.maxsize


def _labelled_people(entries: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    return by_image([entry for entry in entries if any(entry["keypoints"][2::3]) and not entry["iscrowd"]])

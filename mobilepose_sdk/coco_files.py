"""COCO keypoint files: people's annotations, and results of any estimator, checked before anything is measured."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.errors import InvalidInputError, SourceNotFoundError
from mobilepose_sdk.skeleton import COCO_17, CROWDPOSE_14, MPII_16, SKELETONS, Skeleton

Array = NDArray[Any]
FilePath = str | os.PathLike[str]
HEAD_BOX = "bbox_head"
"""An annotation's head box [x, y, width, height], where PCKh is wanted; PoseTrack's name for it."""
PERSON_ENTRIES = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "num_keypoints", "keypoints")
"""What pycocotools reads of every person."""
RESULT_ENTRIES = ("image_id", "category_id", "keypoints", "score")
"""What COCO's results format for keypoints has."""
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
        InvalidInputError: it is not COCO keypoints, or holds no labelled person.
    """
    content = read_annotations(path)
    if not content.get("categories"):
        raise InvalidInputError(f"{os.fspath(path)!r} is not a COCO keypoint file: it needs 'categories'")
    skeleton = _file_skeleton(content, path)
    if skeleton is CROWDPOSE_14:
        areas = (CROWDPOSE_AREA * entry["bbox"][2] * entry["bbox"][3] for entry in content["annotations"])
        entries = [{"iscrowd": 0, **entry, "area": area} for entry, area in zip(content["annotations"], areas)]
        content = {**content, "annotations": entries}
    _check_people(content["annotations"], skeleton, path)
    people = _labelled_people(content["annotations"])
    if not people:
        raise InvalidInputError(f"{os.fspath(path)!r} holds no person with labelled keypoints")
    return PoseAnnotations(content, skeleton, people)


def read_annotations(path: FilePath) -> dict[str, Any]:
    """A parsed COCO file.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is not JSON with ``images`` and ``annotations``.
    """
    content = _read_json(path, "annotation file")
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise InvalidInputError(f"{os.fspath(path)!r} is not a COCO file: it needs 'images' and 'annotations'")
    return content


def read_results(path: FilePath, skeleton: Skeleton) -> list[dict[str, Any]]:
    """A file of COCO keypoint results, as it stands.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is no list of results with the skeleton's keypoints.
    """
    results = _read_json(path, "results file")
    if not isinstance(results, list) or not all(isinstance(entry, dict) for entry in results):
        raise InvalidInputError(f"{os.fspath(path)!r} is not a COCO results file: it must be a list of objects")
    accepted = f"accepted: {3 * len(skeleton)} numbers, x, y and score of each keypoint of {skeleton.name}"
    for number, entry in enumerate(results):
        place = f"{os.fspath(path)!r}: result {number}"
        _check_entries(entry, RESULT_ENTRIES, place)
        if not _are_numbers(entry["keypoints"], 3 * len(skeleton)):
            raise InvalidInputError(f"{place} has keypoints that are not this file's; {accepted}")
        if not _are_numbers([entry["score"]], 1):
            raise InvalidInputError(f"{place} has the score {entry['score']!r}; accepted: a finite number")
        if ("bbox" in entry) != ("bbox" in results[0]) or not _are_numbers(entry.get("bbox", [0] * 4), 4):
            raise InvalidInputError(f"{place}: either all results have a bbox [x, y, width, height], or none has")
    return results


def xyxy(entries: list[dict[str, Any]], name: str = "bbox") -> NDArray[np.float64]:
    """(N, 4) boxes of annotations or results, pixels; NaN where an entry has none."""
    boxes = np.array([entry.get(name) or [np.nan] * 4 for entry in entries], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def triples(entries: list[dict[str, Any]]) -> NDArray[np.float64]:
    """(N, K, 3) x, y and visibility, or score, of annotations or results, of which there is at least one."""
    return np.array([entry["keypoints"] for entry in entries], dtype=np.float64).reshape(len(entries), -1, 3)


def _read_json(path: FilePath, what: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"no {what} {os.fspath(path)!r}") from error
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{os.fspath(path)!r} is not a JSON file: {error}") from error


def _file_skeleton(content: dict[str, Any], path: FilePath) -> Skeleton:
    names = tuple(content["categories"][0].get("keypoints", ()))
    for skeleton in SKELETONS.values():
        if skeleton.names == names:
            return skeleton
    values = len(next((entry["keypoints"] for entry in content["annotations"] if "keypoints" in entry), ()))
    for skeleton in (COCO_17, MPII_16):
        if values in (0, 3 * len(skeleton)):  # nobody at all is said later
            return skeleton
    known = "; ".join(f"{skeleton.name} ({len(skeleton)})" for skeleton in SKELETONS.values())
    raise InvalidInputError(
        f"{os.fspath(path)!r} has people of {values} keypoint numbers, x, y and visibility of each, in no known order; "
        f"accepted: {known}, named in categories[0]['keypoints'] where there are 14"
    )


def _check_people(entries: list[dict[str, Any]], skeleton: Skeleton, path: FilePath) -> None:
    """Whether pycocotools can read the truth: found out before the pictures are looked at, which may take hours."""
    for entry in entries:
        place = f"{os.fspath(path)!r}: annotation {entry.get('id')}"
        _check_entries(entry, PERSON_ENTRIES, place)
        if len(entry["keypoints"]) != 3 * len(skeleton):
            raise InvalidInputError(
                f"{place} has {len(entry['keypoints'])} keypoint numbers; "
                f"accepted: {3 * len(skeleton)}, x, y and visibility of each keypoint of {skeleton.name}"
            )


def _check_entries(entry: dict[str, Any], names: tuple[str, ...], place: str) -> None:
    missing = [name for name in names if name not in entry]
    if missing:
        raise InvalidInputError(f"{place} lacks {', '.join(missing)}")


def _are_numbers(values: Any, count: int) -> bool:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return array.shape == (count,) and bool(np.isfinite(array).all())


def _labelled_people(entries: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    people: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        if any(entry["keypoints"][2::3]) and not entry["iscrowd"]:
            people.setdefault(entry["image_id"], []).append(entry)
    return people

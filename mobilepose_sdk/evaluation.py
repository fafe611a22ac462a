"""Accuracy of an estimator on any COCO keypoint file, by the pictures' source."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import iou_matrix
from mobilepose_sdk.detection import PersonDetector
from mobilepose_sdk.detection_metrics import DetectionCurve, PicturePeople, detection_curve, split_people
from mobilepose_sdk.errors import InvalidInputError, SourceNotFoundError
from mobilepose_sdk.estimator import PICTURES_AT_ONCE, PoseEstimator
from mobilepose_sdk.metrics import COCO_STATS, coco_average_precision, import_pycocotools, pck
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17
from mobilepose_sdk.sources import read_picture

Array = NDArray[Any]
Boxes = Literal["given", "detected"]
Progress = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""
ALL = "all"
NEEDED = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "num_keypoints", "keypoints")
"""What pycocotools reads of every person."""


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate_poses` measured.

    Attributes:
        figures: by source (and ``"all"``): ``PCK@0.2``, pycocotools' ten figures, ``pictures`` and ``people``.
        results: the poses in COCO results form, ready for other tools.
    """

    figures: dict[str, dict[str, float]]
    results: list[dict[str, Any]]


def evaluate_poses(
    estimator: PoseEstimator,
    annotation_file: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    boxes: Boxes = "given",
    progress: Progress | None = None,
) -> Evaluation:
    """Run an estimator over a COCO keypoint file.

    PCK counts every labelled person: with detected boxes, each is compared with the pose whose box overlaps most, and a
    person without a box of IoU 0.5 counts as all wrong.

    Args:
        estimator: what to measure.
        annotation_file: COCO keypoint JSON with COCO-17 people; an image's optional ``source`` groups the figures.
        images: the folder of its pictures.
        boxes: the file's boxes, or those of the estimator's detector.

    Raises:
        SourceNotFoundError: the file or a picture does not exist.
        InvalidInputError: the file is not COCO keypoints, or holds no labelled person.
        MissingDependencyError: pycocotools is not installed.
    """
    annotations = read_annotations(annotation_file)
    _check_people(annotations, annotation_file)
    import_pycocotools()
    people = _labelled_people(annotations)
    if not people:
        raise InvalidInputError(f"{annotation_file} holds no person with labelled keypoints")
    wanted = [image for image in annotations["images"] if boxes == "detected" or image["id"] in people]
    folder, poses = Path(images), {}
    for start in range(0, len(wanted), PICTURES_AT_ONCE):
        part = wanted[start : start + PICTURES_AT_ONCE]
        given = [_xyxy(people[image["id"]]) for image in part] if boxes == "given" else None
        found = estimator.batch([folder / image["file_name"] for image in part], given)
        poses.update({image["id"]: result for image, result in zip(part, found)})
        if progress:
            progress(start + len(part), len(wanted))
    category = next(iter(people.values()))[0]["category_id"]
    results = [entry for image_id, result in poses.items() for entry in result.to_coco(image_id, category)]
    groups: dict[str, list[int]] = {ALL: [image["id"] for image in wanted]}
    for image in wanted:
        if "source" in image:
            groups.setdefault(image["source"], []).append(image["id"])
    figures = {name: _figures(annotations, people, poses, results, ids) for name, ids in groups.items()}
    return Evaluation(figures, results)


def evaluate_detector(
    detector: PersonDetector,
    annotation_file: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    smallest: float = 0.05,
) -> DetectionCurve:
    """Precision and recall at IoU 0.5 on the pictures whose people are all annotated.

    Args:
        detector: made with a low ``min_score``, so that the curve is whole.
        annotation_file: COCO JSON; an image whose ``all_people_annotated`` is false is left out.
        images: the folder of its pictures.
        smallest: people lower than this share of the picture's height do not count.
    """
    annotations = read_annotations(annotation_file)
    pictures = []
    for image in annotations["images"]:
        if image.get("all_people_annotated", True):
            boxes, scores = detector(read_picture(Path(images) / image["file_name"]))
            pictures.append(PicturePeople(*split_people(annotations["annotations"], image, smallest), boxes, scores))
    return detection_curve(pictures)


def read_annotations(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A parsed COCO file.

    Raises:
        SourceNotFoundError: there is none at ``path``.
        InvalidInputError: it is not JSON with ``images`` and ``annotations``.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"no annotation file {os.fspath(path)!r}") from error
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{os.fspath(path)!r} is not a JSON file: {error}") from error
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise InvalidInputError(f"{os.fspath(path)!r} is not a COCO file: it needs 'images' and 'annotations'")
    return content


def _check_people(annotations: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Whether pycocotools can read the truth: found out before the pictures are looked at, which may take hours."""
    if not annotations.get("categories"):
        raise InvalidInputError(f"{os.fspath(path)!r} is not a COCO keypoint file: it needs 'categories'")
    values = 3 * len(COCO_17)
    for entry in annotations["annotations"]:
        missing = [name for name in NEEDED if name not in entry]
        if missing:
            raise InvalidInputError(f"{os.fspath(path)!r}: annotation {entry.get('id')} lacks {', '.join(missing)}")
        if len(entry["keypoints"]) != values:
            raise InvalidInputError(
                f"{os.fspath(path)!r}: annotation {entry['id']} has {len(entry['keypoints'])} keypoint numbers; "
                f"accepted: {values}, COCO-17's x, y and visibility"
            )


def _labelled_people(annotations: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Annotations with at least one labelled keypoint, by picture."""
    people: dict[int, list[dict[str, Any]]] = {}
    for entry in annotations["annotations"]:
        if any(entry.get("keypoints", ())[2::3]) and not entry.get("iscrowd"):
            people.setdefault(entry["image_id"], []).append(entry)
    return people


def _xyxy(entries: list[dict[str, Any]]) -> NDArray[np.float32]:
    boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _figures(
    annotations: dict[str, Any],
    people: dict[int, list[dict[str, Any]]],
    poses: dict[int, PoseResult],
    results: list[dict[str, Any]],
    ids: list[int],
) -> dict[str, float]:
    truth = [entry for image_id in ids for entry in people.get(image_id, [])]
    if not truth:
        return {"PCK@0.2": float("nan"), **dict.fromkeys(COCO_STATS, float("nan")), "pictures": len(ids), "people": 0}
    triples = np.array([entry["keypoints"] for entry in truth], dtype=np.float64).reshape(len(truth), -1, 3)
    answered = np.concatenate([_matched(people[i], poses[i]) for i in ids if i in people])
    group = set(ids)
    stats = coco_average_precision(annotations, [r for r in results if r["image_id"] in group], ids)
    correct = pck(answered, triples[:, :, :2], triples[:, :, 2] > 0).value
    return {"PCK@0.2": correct, **stats, "pictures": len(ids), "people": len(truth)}


def _matched(people: list[dict[str, Any]], result: PoseResult) -> Array:
    """(P, K, 2) the pose of the best overlapping box for each person, infinitely far away where none overlaps half."""
    overlaps = iou_matrix(_xyxy(people), result.boxes)
    answered = np.full((len(people), len(result.skeleton), 2), np.inf)
    if len(result):
        found = overlaps.max(axis=1) >= 0.5
        answered[found] = result.keypoints[overlaps.argmax(axis=1)[found]]
    return answered

"""Accuracy on any COCO keypoint file, by the pictures' source: of an estimator, or of results found before."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk.boxes import iou_matrix
from mobilepose_sdk.coco_files import (
    ALL,
    HEAD_BOX,
    PoseAnnotations,
    by_image,
    read_boxes,
    read_poses,
    read_results,
    triples,
    xyxy,
)
from mobilepose_sdk.conversion import conversion
from mobilepose_sdk.detection import PersonDetector
from mobilepose_sdk.detection_metrics import DetectionCurve, PicturePeople, detection_curve, split_people
from mobilepose_sdk.estimator import PICTURES_AT_ONCE, PoseEstimator
from mobilepose_sdk.metrics import (
    COCO_STATS,
    check_pictures,
    coco_average_precision,
    import_pycocotools,
    keypoint_similarity,
    pck,
    pckh,
)
from mobilepose_sdk.options import one_of
from mobilepose_sdk.sources import read_picture

Array = NDArray[Any]
FilePath = str | os.PathLike[str]
Boxes = Literal["given", "detected"]
Progress = Callable[[int, int], None]
"""Called with pictures done and pictures in all."""
PCK_FIGURE, PCKH_FIGURE = "PCK@0.2", "PCKh@0.5"


@dataclass(frozen=True)
class Evaluation:
    """What was measured, by source (and ``"all"``).

    A person is compared with the pose whose box overlaps theirs most; without one of IoU 0.5 every keypoint of theirs
    is wrong. So is a keypoint that the estimator's skeleton does not have.

    Attributes:
        figures: ``PCK@0.2``, ``PCKh@0.5`` where the file has head boxes, pycocotools' ten figures, ``pictures`` and
            ``people``. -1 is pycocotools' word for undefined, NaN ours.
        keypoints: by keypoint, in the skeleton's order, ``labelled``, how many there are; ``PCK@0.2`` and ``PCKh@0.5``
            as above, NaN for those that PCK leaves out; ``OKS``, the mean of the keypoint's part of the OKS.
        results: the poses in COCO's results format.
        unknown: the file's keypoints that the estimator does not have.
    """

    figures: dict[str, dict[str, float]]
    keypoints: dict[str, dict[str, dict[str, float]]]
    results: list[dict[str, Any]]
    unknown: tuple[str, ...] = ()


def evaluate_poses(
    estimator: PoseEstimator,
    annotation_file: FilePath,
    images: FilePath,
    *,
    boxes: Boxes = "given",
    progress: Progress | None = None,
) -> Evaluation:
    """Run an estimator over a COCO keypoint file.

    Args:
        estimator: what to measure. Poses of another skeleton than the file's are converted to it.
        annotation_file: COCO keypoint JSON, see :func:`mobilepose_sdk.coco_files.read_poses`; an image's optional
            ``source`` groups the figures, a person's optional ``bbox_head`` makes PCKh.
        images: the folder of its pictures.
        boxes: the file's boxes, in those of its pictures that have people, or those of the estimator's detector, in all
            pictures. A bottom-up model takes no boxes: it always finds people by itself, in all pictures.

    Raises:
        SourceNotFoundError: the file or a picture does not exist.
        InvalidInputError: the file is not COCO keypoints, or holds no labelled person; or ``boxes`` is neither.
        MissingDependencyError: pycocotools is not installed.
    """
    one_of("boxes", boxes, get_args(Boxes))
    import_pycocotools()
    truth = read_poses(annotation_file)
    given = boxes == "given" and estimator.card.approach == "top-down"
    wanted = [image for image in truth.content["images"] if not given or image["id"] in truth.people]
    category = next(iter(truth.people.values()))[0]["category_id"]
    results: list[dict[str, Any]] = []
    unknown: tuple[str, ...] = ()
    for start in range(0, len(wanted), PICTURES_AT_ONCE):
        part = wanted[start : start + PICTURES_AT_ONCE]
        places = [xyxy(truth.people[image["id"]]).astype(np.float32) for image in part] if given else None
        for image, result in zip(part, estimator.batch([Path(images) / image["file_name"] for image in part], places)):
            results += result.to_skeleton(truth.skeleton).to_coco(image["id"], category)
            unknown = conversion(result.skeleton, truth.skeleton).unknown
        if progress:
            progress(start + len(part), len(wanted))
    return replace(_measured(truth, results, wanted), unknown=unknown)


def evaluate_results(result_file: FilePath, annotation_file: FilePath) -> Evaluation:
    """Measure poses that were found before, over all pictures of a COCO keypoint file.

    Args:
        result_file: COCO results JSON with the annotations' keypoints. Where its entries have no ``bbox``, a pose's box
            is the extent of its keypoints.
        annotation_file: as for :func:`evaluate_poses`.

    Raises:
        SourceNotFoundError: a file does not exist.
        InvalidInputError: a file is not what it should be, or a result names a picture that the annotations lack.
        MissingDependencyError: pycocotools is not installed.
    """
    import_pycocotools()
    truth = read_poses(annotation_file)
    results = read_results(result_file, truth.skeleton)
    check_pictures(truth.content, results)
    return _measured(truth, results, truth.content["images"])


def evaluate_detector(
    detector: PersonDetector,
    annotation_file: FilePath,
    images: FilePath,
    *,
    smallest: float = 0.05,
) -> DetectionCurve:
    """Precision and recall at IoU 0.5 on the pictures whose people are all annotated.

    Args:
        detector: made with a low ``min_score``, so that the curve is whole.
        annotation_file: COCO JSON of people, or of things and people; an image whose ``all_people_annotated`` is false
            is left out.
        images: the folder of its pictures.
        smallest: people lower than this share of the picture's height do not count.

    Raises:
        SourceNotFoundError: the file or a picture does not exist.
        InvalidInputError: the file is not COCO's, or people have no category in it.
    """
    truth = read_boxes(annotation_file)
    pictures = []
    for image in truth.images:
        boxes, scores = detector(read_picture(Path(images) / image["file_name"]))
        people = split_people(truth.people.get(image["id"], []), image["height"], smallest)
        pictures.append(PicturePeople(*people, boxes, scores))
    return detection_curve(pictures)


def _measured(truth: PoseAnnotations, results: list[dict[str, Any]], images: list[dict[str, Any]]) -> Evaluation:
    """Everything about some of the truth's pictures, by source."""
    groups: dict[str, list[int]] = {ALL: [image["id"] for image in images]}
    for image in images:
        if image.get("source") is not None:
            groups.setdefault(image["source"], []).append(image["id"])
    by_picture = by_image(results)
    measured = {name: _figures(truth, by_picture, ids) for name, ids in groups.items()}
    figures = {name: figures for name, (figures, _) in measured.items()}
    return Evaluation(figures, {name: keypoints for name, (_, keypoints) in measured.items()}, results)


def _figures(
    truth: PoseAnnotations, results: dict[int, list[dict[str, Any]]], ids: list[int]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Figures of some pictures, and those of each keypoint."""
    people = [entry for image_id in ids for entry in truth.people.get(image_id, [])]
    counts = {"pictures": len(ids), "people": len(people)}
    if people:
        found = [result for image_id in ids for result in results.get(image_id, [])]
        stats = coco_average_precision(truth.content, found, ids, sigmas=truth.skeleton.sigmas)
    else:
        stats = dict.fromkeys(COCO_STATS, float("nan"))
    answered = [_matched(truth.people[i], results.get(i, [])) for i in ids if i in truth.people]
    shares, keypoints = _keypoint_figures(truth, people, answered)
    return {**shares, **stats, **counts}, keypoints


def _keypoint_figures(
    truth: PoseAnnotations, people: list[dict[str, Any]], answered: list[Array]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """PCK, and PCKh where the file has head boxes; and with the mean OKS the same for each keypoint."""
    skeleton = truth.skeleton
    points = np.array([entry["keypoints"] for entry in people], np.float64).reshape(-1, len(skeleton), 3)
    poses = np.concatenate([np.zeros((0, len(skeleton), 2)), *answered])
    where, labelled = points[:, :, :2], points[:, :, 2] > 0
    measures = {PCK_FIGURE: pck(poses, where, labelled, skeleton=skeleton)}
    if any(HEAD_BOX in entry for listed in truth.people.values() for entry in listed):
        measures[PCKH_FIGURE] = pckh(poses, where, labelled, xyxy(people, HEAD_BOX), skeleton=skeleton)
    areas = np.array([entry["area"] for entry in people], np.float64)
    counts = labelled.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        similarity = (keypoint_similarity(poses, where, areas, skeleton) * labelled).sum(axis=0) / counts
    rows = {
        name: {
            "labelled": int(counts[index]),
            **{figure: measure.of(name) for figure, measure in measures.items()},
            "OKS": float(similarity[index]),
        }
        for index, name in enumerate(skeleton.names)
    }
    return {figure: measure.value for figure, measure in measures.items()}, rows


def _matched(people: list[dict[str, Any]], results: list[dict[str, Any]]) -> Array:
    """(P, K, 2) the pose of the best overlapping box for each person, NaN where none overlaps half.

    NaN, too, where a keypoint is [0, 0, 0]: COCO's word for missing.
    """
    answered = np.full((*triples(people).shape[:2], 2), np.nan)
    if results:
        poses = triples(results)
        poses[(poses == 0).all(axis=2)] = np.nan
        overlaps = iou_matrix(xyxy(people), _result_boxes(results, poses))
        found = overlaps.max(axis=1) >= 0.5
        answered[found] = poses[overlaps.argmax(axis=1)[found], :, :2]
    return answered


def _result_boxes(results: list[dict[str, Any]], poses: Array) -> Array:
    """(N, 4) their own, or else the extent of what is not missing in poses (N, K, 3); all zeros without anything."""
    if "bbox" in results[0]:
        return xyxy(results)
    points = poses[:, :, :2]
    extent = np.concatenate([np.fmin.reduce(points, axis=1), np.fmax.reduce(points, axis=1)], axis=1)
    return np.asarray(np.nan_to_num(extent))

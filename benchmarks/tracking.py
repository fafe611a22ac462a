"""What tracking and smoothing do, on clips made of a photograph: jitter at rest, lag at walking speed, two who pass.

    python benchmarks/tracking.py [--picture PICTURE] [--write FOLDER]

* Jitter: the photograph at rest, with a sensor's noise in every frame. Root mean square of the drawn keypoints'
  steps from frame to frame, with and without smoothing.
* Lag: the photograph moves sideways, faster and faster up to walking speed. How many frames the smoothed keypoints are
  behind the known motion, at full speed, and how many the bare ones are.
* Passing: the person and their mirror image, cut out, walk through each other, each in turn in front: how often a
  person's number changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import PersonDetector, PoseEstimator
from mobilepose_sdk.drawing import DRAWN_SCORE
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.smoothing import DEFAULT_SMOOTHING, Smoothing
from mobilepose_sdk.sources import read_picture

Array = NDArray[Any]
PICTURE = Path(__file__).parent.parent / "examples" / "pictures" / "astronaut.jpg"
FPS = 30.0
NOISE = 8.0
"""Standard deviation, of 255 grey levels: a webcam indoors."""
WALKING = 1.5
"""Person sizes (square root of the box's area) a second."""
REST = 20
"""Frames at rest before and after a walk."""


Clip = list[tuple[Array, Array]]
"""Frames and the boxes (N, 4) of the people who can be seen in them."""


class Known:
    """A detector that is told where people are: what is measured here is tracking, not detection."""

    def __init__(self) -> None:
        self.boxes = np.zeros((0, 4), dtype=np.float32)

    def __call__(self, picture: Array) -> Array:
        return self.boxes

    def show(self, clip: Clip) -> Iterator[Array]:
        for picture, self.boxes in clip:
            yield picture


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--picture", type=Path, default=PICTURE, help="a photograph of one person")
    parser.add_argument("--frames", type=int, default=90, help="frames of each clip (default: 90)")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="also write the clip of the two who pass")
    options = parser.parse_args()
    picture = read_picture(options.picture)
    box = PersonDetector()(picture)[0][:1]
    if not len(box):
        raise SystemExit(f"nobody was found in {options.picture}")
    known = Known()
    with PoseEstimator(threads=2, detector=known) as estimator:
        report_jitter(estimator, known, [(noisy(picture, seed), box) for seed in range(options.frames)])
        report_lag(estimator, known, picture, box, options.frames)
        report_passing(estimator, known, picture, box[0], options.write)


def people(estimator: PoseEstimator, known: Known, clip: Clip, smoothing: Smoothing | None) -> list[PoseResult]:
    return list(estimator.stream(known.show(clip), smoothing=smoothing, fps=FPS))


def report_jitter(estimator: PoseEstimator, known: Known, clip: Clip) -> None:
    steps = {}
    for smoothing in (None, DEFAULT_SMOOTHING):
        found = [result[0] for result in people(estimator, known, clip, smoothing) if len(result)]
        keypoints = np.concatenate([person.keypoints for person in found])[10:]  # the filter settles first
        sure = np.concatenate([person.keypoint_scores for person in found]).mean(axis=0) > DRAWN_SCORE
        steps[smoothing is not None] = float(np.sqrt((np.diff(keypoints[:, sure], axis=0) ** 2).sum(axis=2).mean()))
    print(
        f"jitter at rest, noise {NOISE:g}: {steps[False]:.3f} px a frame bare, {steps[True]:.3f} px smoothed: "
        f"{1 - steps[True] / steps[False]:.0%} less"
    )


def report_lag(estimator: PoseEstimator, known: Known, picture: Array, box: Array, frames: int) -> None:
    size = float(np.sqrt(np.prod(box[0, 2:] - box[0, :2])))
    speed = np.clip((np.arange(frames) - REST) / 30, 0, 1) * WALKING * size / FPS  # pixels a frame
    place = np.cumsum(speed)
    clip = [
        (noisy(shifted(picture, x, place[-1]), seed), (box + [x, 0, x, 0]).astype(np.float32))
        for seed, x in enumerate(place)
    ]
    for name, smoothing in {"bare": None, "smoothed": DEFAULT_SMOOTHING}.items():
        results = people(estimator, known, clip, smoothing)
        resting = results[REST // 2 : REST]
        at_rest = np.mean([result.keypoints[0] for result in resting], axis=0)
        sure = np.mean([result.keypoint_scores[0] for result in resting], axis=0) > DRAWN_SCORE
        late = [
            (at_rest[sure, 0] + x - result.keypoints[0, sure, 0]).mean() / step
            for result, x, step in zip(results, place, speed)
            if len(result) and step == speed[-1]
        ]
        print(
            f"lag at {WALKING:g} person sizes a second, {speed[-1]:.1f} px a frame, {name}: "
            f"{np.mean(late):+.2f} frames over {len(late)} frames"
        )


def report_passing(estimator: PoseEstimator, known: Known, picture: Array, box: Array, folder: Path | None) -> None:
    wide = float(np.ptp(box[::2]))
    for front in (0, 1):
        clip, truth = passing(picture, box, front)
        if folder is not None:
            write(folder / f"passing-{front}.avi", [frame for frame, _ in clip])
        owners: list[list[int]] = [[], []]
        apart = 0
        for result, centres in zip(people(estimator, known, clip, DEFAULT_SMOOTHING), truth):
            if abs(centres[1] - centres[0]) < wide or result.track_ids is None:
                continue
            apart += 1
            found = (result.boxes[:, 0] + result.boxes[:, 2]) / 2
            for person, centre in enumerate(centres):
                near = np.flatnonzero(np.abs(found - centre) < wide / 2)
                owners[person] += result.track_ids[near[:1]].tolist()
        switches = sum(int((np.diff(ids) != 0).sum()) for ids in owners)
        print(
            f"two who pass, person {front} in front: {switches} identity switches; seen in {len(owners[0])} and "
            f"{len(owners[1])} of {apart} frames apart, as {sorted(set(owners[0]))} and {sorted(set(owners[1]))}"
        )


def noisy(picture: Array, seed: int) -> Array:
    noise = np.random.default_rng(seed).normal(0, NOISE, picture.shape)
    return np.asarray(np.clip(picture + noise, 0, 255), dtype=np.uint8)


def shifted(picture: Array, x: float, room: float) -> Array:
    """The picture moved right by ``x`` pixels, with ``room`` for it, its last column going on."""
    width = picture.shape[1] + int(np.ceil(room))
    matrix = np.array([[1, 0, x], [0, 1, 0]], dtype=np.float32)
    size = (width, picture.shape[0])
    return np.asarray(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def passing(picture: Array, box: Array, front: int) -> tuple[Clip, list[tuple[float, float]]]:
    """A person and their mirror image, who stand, walk through each other and stand, and their centres' x.

    Whoever is more than half hidden is not detected.
    """
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = np.clip(np.rint(box), 0, [width, height, width, height]).astype(int)
    people = [picture[y1:y2, x1:x2], picture[y1:y2, x2 - 1 : x1 - 1 if x1 else None : -1]]
    wide, tall = x2 - x1, y2 - y1
    step = WALKING * float(np.sqrt(wide * tall)) / FPS
    left, right = 0.8 * wide, 3.8 * wide
    walk = np.concatenate([np.full(REST, left), np.arange(left, right, step), np.full(REST, right)])
    clip: Clip = []
    centres = []
    for frame, x in enumerate(walk):
        canvas = np.full((tall + 80, round(left + right), 3), 110, dtype=np.uint8)
        xs = (float(x), float(left + right - x))
        for person in (1 - front, front):
            start = round(xs[person] - wide / 2)
            canvas[40 : 40 + tall, start : start + wide] = people[person]
        shown = (front, 1 - front) if abs(xs[0] - xs[1]) > wide / 2 else (front,)
        boxes = [(xs[person] - wide / 2, 40, xs[person] + wide / 2, 40 + tall) for person in shown]
        clip.append((noisy(canvas, frame), np.array(boxes, dtype=np.float32)))
        centres.append(xs)
    return clip, centres


def write(path: Path, clip: list[Array]) -> None:
    from mobilepose_sdk.video_writer import VideoWriter

    with VideoWriter(path, FPS) as writer:
        for index, frame in enumerate(clip):
            writer.write(frame, index / FPS)


if __name__ == "__main__":
    main()

"""The pictures of decoding.md: one heatmap under both decoders, and the three OKS-NMS on one crowded picture.

    python docs/make_decoding_pictures.py [--person PICTURE] [--crowd PICTURE] [--model lpn-50] [--output docs]

Any pictures will do. By default the person is NASA's portrait of Eileen Collins, and the crowd is put together of five
copies of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilepose_sdk import PersonDetector, PoseEstimator, PoseResult
from mobilepose_sdk.decoding.heatmaps import METHODS, Method, decode
from mobilepose_sdk.decoding.nms import METHODS as NMS_METHODS
from mobilepose_sdk.models import find_model
from mobilepose_sdk.pipelines.people import People
from mobilepose_sdk.preprocessing import as_channels, crop_matrices, crop_regions, warp_crops
from mobilepose_sdk.runtimes import load
from mobilepose_sdk.skeleton import SKELETONS
from mobilepose_sdk.sources import read_picture
from mobilepose_sdk.threads import Threads

Array = NDArray[Any]
Color = tuple[int, int, int]
PORTRAIT = Path(__file__).parent.parent / "examples" / "pictures" / "astronaut.jpg"
OUTLINE = (
    "20,512 22,400 40,280 70,235 112,205 118,180 150,152 182,150 183,132 170,118 155,92 157,65 170,42 195,22 230,15 "
    "268,22 292,45 301,85 290,118 276,135 268,160 266,180 295,205 305,238 340,262 355,300 360,345 400,345 450,365 "
    "485,405 497,450 508,490 508,512"
)
"""Of the person in the portrait, pixels."""
PLACES = (
    (0.66, 130, 25, False),
    (0.66, 450, 35, True),
    (0.8, -30, 135, True),
    (0.8, 270, 140, False),
    (0.8, 570, 135, True),
)
"""Of the five in the crowd: how large, left edge, top edge, whether mirrored."""
PANEL = 470
"""Width of a panel, pixels."""
CROWD_SIZE = 960, 540
COPIES, JITTER, LOWEST_SCORE = 6, 0.06, 0.1
COLORS: dict[Method, Color] = {"soft-argmax": (60, 200, 255), "quarter-offset": (255, 120, 80)}  # BGR


def main() -> None:
    """Write the two pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--person", type=Path, default=PORTRAIT, help="a picture that one person fills")
    parser.add_argument("--crowd", type=Path, help="a picture of several people who overlap")
    parser.add_argument("--model", default="lpn-50", help="a top-down pose model (default: lpn-50)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to (default: docs)")
    options = parser.parse_args()
    write(options.output / "decoding-heatmap.jpg", heatmap_picture(read_picture(options.person), options.model))
    crowd, boxes = (read_picture(options.crowd), None) if options.crowd else five_of(read_picture(PORTRAIT))
    write(options.output / "decoding-nms.jpg", nms_picture(crowd, boxes, options.model))


def heatmap_picture(picture: Array, model: str) -> Array:
    """A keypoint's heatmap laid over the crop, and its peak enlarged, with what both decoders read from it."""
    card = find_model(model, "pose")
    size, skeleton = card.input_size, SKELETONS[card.skeleton]
    height, width = picture.shape[:2]
    box = np.array([[0, 0, width, height]], np.float32)
    crop = warp_crops(picture, crop_matrices(*crop_regions(box, size, card.padding), size), size)
    heatmaps = load(card, "openvino", None, Threads(0, "latency"), "CPU")(as_channels(crop, card.color))[0]
    answers = {method: decode(heatmaps, method) for method in METHODS}
    (soft, scores), (quarter, _) = answers.values()
    apart = np.linalg.norm(soft - quarter, axis=2)[0]
    shown = int(np.argmax(np.where(scores[0] > 0.5 * scores.max(), apart, 0)))  # where there is most to see
    heatmap = heatmaps[0, shown]
    places = {method: xy[0, shown] for method, (xy, _) in answers.items()}

    colours = cv2.applyColorMap(shades(heatmap), cv2.COLORMAP_INFERNO)
    over = cv2.resize(colours, size, interpolation=cv2.INTER_LINEAR)
    left = cv2.resize(cv2.addWeighted(crop[0], 0.6, over, 0.6, 0), (PANEL, round(PANEL * size[1] / size[0])))
    right = enlarged(heatmap, places, left.shape[0])
    captions = [f"{method}  ({x:.2f}, {y:.2f})" for method, (x, y) in places.items()]
    return titled(
        [left, right],
        [f"{skeleton.names[shown].replace('_', ' ')}: heatmap {heatmap.shape[1]} x {heatmap.shape[0]}", "its peak"],
        list(zip(captions, COLORS.values())),
    )


def enlarged(heatmap: Array, places: Mapping[Method, Array], side: int, reach: int = 4) -> Array:
    """The pixels around the highest one, as squares, with a cross at each place (x, y); side × side."""
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    padded = np.pad(heatmap, reach, constant_values=heatmap.min())
    part = padded[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
    cell = side / len(part)
    colours = cv2.applyColorMap(shades(part), cv2.COLORMAP_INFERNO)
    squares = cv2.resize(colours, (side, side), interpolation=cv2.INTER_NEAREST)
    for method, (x, y) in places.items():
        # A pixel's centre is in the middle of its square.
        centre = tuple(round(float(v)) for v in ((x - column + reach + 0.5) * cell, (y - row + reach + 0.5) * cell))
        for colour, thickness in (((0, 0, 0), 7), (COLORS[method], 3)):
            cv2.drawMarker(squares, centre, colour, cv2.MARKER_TILTED_CROSS, 26, thickness, cv2.LINE_AA)
    return squares


def nms_picture(picture: Array, boxes: Array | None, model: str) -> Array:
    """The raw poses of a picture, and what each method leaves of them."""
    with PoseEstimator(model, detector=None) as estimator:
        raw_boxes, scores = raw(picture, boxes)
        found = estimator(picture, raw_boxes)
    people = People(found.boxes, scores, found.keypoints, found.keypoint_scores)
    panels = {f"raw: {len(found)} poses": people.merged(None, found.skeleton).result(picture, found.skeleton)}
    for method in reversed(NMS_METHODS):
        left = people.merged(method, found.skeleton).result(picture, found.skeleton)
        panels[f"{method}: {len(left)} poses"] = left
    size = PANEL, round(PANEL * picture.shape[0] / picture.shape[1])
    drawn = [cv2.resize(with_scores(picture, one), size, interpolation=cv2.INTER_AREA) for one in panels.values()]
    captions = list(panels)
    return np.vstack([titled(drawn[:2], captions[:2]), titled(drawn[2:], captions[2:])])


def raw(picture: Array, boxes: Array | None) -> tuple[Array, Array]:
    """Several jittered boxes a person, and their scores: what a detector that does not merge would find."""
    if boxes is None:
        boxes, scores = PersonDetector(min_score=LOWEST_SCORE)(picture)
    else:
        scores = np.full(len(boxes), 0.9, np.float32)
    rng = np.random.default_rng(1)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moves = rng.normal(0, JITTER, (COPIES, *boxes.shape))
    jittered = (boxes + moves * sides).reshape(-1, 4).astype(np.float32)
    return jittered, (scores * (1 - np.abs(moves).mean(axis=2))).ravel().astype(np.float32)


def with_scores(picture: Array, result: PoseResult) -> Array:
    """The poses drawn, with each person's score where their box begins."""
    drawn = result.plot(picture)
    for (x, y, *_), score in zip(result.boxes, result.scores):
        text(drawn, f"{score:.2f}", (max(4, int(x) + 6), max(28, int(y) + 28)), 0.8)
    return drawn


def five_of(portrait: Array) -> tuple[Array, Array]:
    """A crowd of copies of one portrait, cut out along :data:`OUTLINE`, and the boxes of its people."""
    outline = np.array([point.split(",") for point in OUTLINE.split()], np.int32)
    mask: Array = np.zeros(portrait.shape[:2], np.uint8)
    cv2.fillPoly(mask, [outline], 255)
    mask = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 1.2)
    wall = cv2.GaussianBlur(portrait[:200, 310:500], (0, 0), 25)
    canvas: Array = cv2.resize(wall, CROWD_SIZE).astype(np.float32)
    boxes = []
    for scale, left, top, mirrored in PLACES:
        side = portrait.shape[1] * scale
        matrix = np.array([[-scale if mirrored else scale, 0, left + (side if mirrored else 0)], [0, scale, top]])
        copy, share = (cv2.warpAffine(of, matrix, CROWD_SIZE, flags=cv2.INTER_AREA) for of in (portrait, mask))
        opacity = share[:, :, None].astype(np.float32) / 255
        canvas = canvas * (1 - opacity) + copy * opacity
        corners = np.stack([outline.min(axis=0), outline.max(axis=0)]) @ matrix[:, :2].T + matrix[:, 2]
        boxes.append([*corners.min(axis=0), *np.minimum(corners.max(axis=0), CROWD_SIZE)])
    return canvas.astype(np.uint8), np.array(boxes, np.float32)


def titled(panels: list[Array], titles: list[str], legend: list[tuple[str, Color]] | None = None) -> Array:
    """Panels of one height side by side, each under its title, over a line a legend."""
    gap, head = 12, 40
    height = panels[0].shape[0]
    width = sum(panel.shape[1] for panel in panels) + gap * (len(panels) + 1)
    page = np.full((head + height + gap + 34 * len(legend or ()), width, 3), 30, np.uint8)
    left = gap
    for panel, title in zip(panels, titles):
        page[head : head + height, left : left + panel.shape[1]] = panel
        text(page, title, (left, 28), 0.75)
        left += panel.shape[1] + gap
    for line, (words, colour) in enumerate(legend or ()):
        text(page, f"x  {words}", (gap, head + height + 34 * (line + 1)), 0.75, colour)
    return page


def text(page: Array, words: str, place: tuple[int, int], size: float, colour: Color = (255, 255, 255)) -> None:
    """White, or another colour, with a shadow."""
    for shade, aside in (((0, 0, 0), 2), ((0, 0, 0), 1), (colour, 0)):
        at = place[0] + aside, place[1] + aside
        cv2.putText(page, words, at, cv2.FONT_HERSHEY_SIMPLEX, size, shade, 1, cv2.LINE_AA)


def shades(heatmap: Array) -> NDArray[np.uint8]:
    """0 to 255 over the range of the map."""
    span = max(float(np.ptp(heatmap)), 1e-9)
    return np.asarray((heatmap - heatmap.min()) / span * 255, dtype=np.uint8)


def write(path: Path, picture: Array) -> None:
    path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes())
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

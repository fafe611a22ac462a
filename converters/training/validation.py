"""The figures of dev.json for a torch network, with the SDK's own preparation, decoding and metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from converters.data import measured_sources, read_data
from converters.training.people import MIDDLE_PADDING, STRIDE, people_of
from converters.training.pictures import PicturePack
from converters.training.precision import mixed_precision
from mobilepose_sdk.coco_files import read_boxes
from mobilepose_sdk.decoding.distances import decode_distances
from mobilepose_sdk.decoding.heatmaps import decode
from mobilepose_sdk.detection_metrics import PicturePeople, detection_curve, split_people
from mobilepose_sdk.metrics import coco_average_precision, pck
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.pipelines.bottom_up import BottomUp
from mobilepose_sdk.preprocessing import (
    apply_affine,
    crop_matrices,
    crop_regions,
    invert_affine,
    letterbox,
    warp_crops,
)
from mobilepose_sdk.skeleton import COCO_17

Array = NDArray[Any]
SMALLEST = 0.05
"""Share of a picture's height below which people need not be found."""
Network = Callable[[torch.Tensor], torch.Tensor]
"""(N, 3, H, W) uint8 BGR crops to (N, K, H/4, W/4) heatmaps."""


class PoseValidation:
    """PCK@0.2 and AP, each on its part of ``dev.json``, given boxes, single pass."""

    def __init__(self, folder: Path) -> None:
        self.annotations = read_data(folder / "dev.json")
        pck_source, ap_source = measured_sources(image["source"] for image in self.annotations["images"])
        self.pck_people = people_of(self.annotations, pck_source, fewest=1)
        self.ap_people = people_of(self.annotations, ap_source, fewest=1)
        self.pack = PicturePack(self.annotations, folder / "images")
        self.ap_images = _images_of(self.annotations, ap_source)

    def __call__(self, network: Network, input_size: tuple[int, int]) -> dict[str, float]:
        """``{"pck": …, "ap": …}`` of a network at one input size."""
        matrices, heatmaps = self.heatmaps(network, input_size)
        return self.figures(matrices, *decode(heatmaps))

    def heatmaps(
        self, network: Network, input_size: tuple[int, int], padding: float = MIDDLE_PADDING, batch: int = 32
    ) -> tuple[Array, Array]:
        """Everybody's crop matrices (N, 2, 3) and heatmaps (N, K, H, W) float32."""
        people = self.pck_people + self.ap_people
        matrices = crop_matrices(*crop_regions(np.stack([p.box for p in people]), input_size, padding), input_size)
        maps = []
        for start in range(0, len(people), batch):
            crops = [
                warp_crops(self.pack[person.image_id], matrix[None], input_size)[0]
                for person, matrix in zip(people[start : start + batch], matrices[start : start + batch])
            ]
            with torch.inference_mode():
                out = network(torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy()))
            maps.append(out.float().cpu().numpy())
        return matrices, np.concatenate(maps)

    def figures(self, matrices: Array, xy: Array, scores: Array) -> dict[str, float]:
        """Both figures of decoded heatmaps: xy (N, K, 2) heatmap pixels, scores (N, K)."""
        return self._figures(apply_affine(invert_affine(matrices), xy * STRIDE), scores)

    def _figures(self, keypoints: NDArray[np.float32], scores: NDArray[np.float32]) -> dict[str, float]:
        split = len(self.pck_people)
        truth = np.stack([p.keypoints for p in self.pck_people])
        labelled = np.stack([p.weights > 0 for p in self.pck_people])
        results = [
            {
                "image_id": person.image_id,
                "category_id": 1,
                "keypoints": np.column_stack([points, confidence]).astype(float).ravel().tolist(),
                "score": float(confidence.mean()),
            }
            for person, points, confidence in zip(self.ap_people, keypoints[split:], scores[split:])
        ]
        ap = coco_average_precision(self.annotations, results, self.ap_images)["AP"]
        return {"pck": pck(keypoints[:split], truth, labelled).value, "ap": ap}


class DetectionValidation:
    """Average precision, recall and precision at IoU 0.5 on pictures whose people are all annotated."""

    def __init__(self, folder: Path) -> None:
        truth = read_boxes(folder / "dev.json")
        self.images = truth.images
        self.pack = PicturePack({"images": self.images}, folder / "images")
        self.truth = {
            image["id"]: split_people(truth.people.get(image["id"], []), image["height"], SMALLEST)
            for image in self.images
        }

    def __call__(self, network: Callable[[Array], list[Array]], input_size: tuple[int, int]) -> dict[str, float]:
        """Figures of a network that takes one (H, W, 3) uint8 picture and returns its outputs (C, h, w)."""
        pictures = []
        for image in self.images:
            picture, scale = letterbox(self.pack[image["id"]], input_size)
            boxes, scores = decode_distances(network(picture), min_score=0.03)
            people, ignored = self.truth[image["id"]]
            pictures.append(PicturePeople(people, ignored, boxes / np.tile(scale, 2), scores))
        curve = detection_curve(pictures)
        precision, recall = curve.at(curve.best_threshold())
        return {"ap50": curve.average_precision, "precision": precision, "recall": recall}


class BottomUpValidation:
    """AP of whole pictures, those that AP is of, through the SDK's own bottom-up pipeline, single scale."""

    def __init__(self, folder: Path) -> None:
        self.annotations = read_data(folder / "dev.json")
        self.pack = PicturePack(self.annotations, folder / "images")
        self.images = _images_of(
            self.annotations, measured_sources(image["source"] for image in self.annotations["images"])[1]
        )

    def __call__(self, network: torch.nn.Module, input_size: tuple[int, int]) -> dict[str, float]:
        """``{"ap": …}`` of a network that takes (1, 3, H, W) uint8 RGB and returns both its outputs."""
        pipeline = BottomUp(_card_in_training(input_size), _TorchRuntime(network), COCO_17, grouping={})
        return {"ap": self.average_precision(pipeline)}

    def average_precision(self, pipeline: BottomUp) -> float:
        """AP of a pipeline that finds everybody by itself."""
        poses = [(image_id, pipeline([np.array(self.pack[image_id])], [None])[0]) for image_id in self.images]
        results = [entry for image_id, result in poses for entry in result.to_coco(image_id)]
        return coco_average_precision(self.annotations, results, self.images)["AP"]


def _images_of(content: dict[str, Any], source: str | None) -> list[int]:
    """Ids of a source's pictures; of all where it is None."""
    return [image["id"] for image in content["images"] if source in (None, image["source"])]


class _TorchRuntime:
    """A network that is still in training, as the SDK runs one."""

    fixed_size = False

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        device = next((parameter.device for parameter in self.network.parameters()), torch.device("cpu"))
        pictures = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()).to(device)
        with mixed_precision(device), torch.inference_mode():
            return [output.float().cpu().numpy() for output in self.network(pictures)]

    def close(self) -> None:
        pass


def _card_in_training(input_size: tuple[int, int]) -> ModelCard:
    facts = {"kind": "pose", "approach": "bottom-up", "color": "rgb", "stride": STRIDE, "outputs": []}
    texts = {"name": "in training", "summary": "", "paper": "", "licence": ""}
    return ModelCard(**facts, **texts, input_size=input_size, parameters=0, macs=0)  # type: ignore[arg-type]

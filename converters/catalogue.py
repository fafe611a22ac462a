"""The networks this project builds, trains and packages, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from converters.networks.lpn import LPN
from converters.networks.person_detector import PersonDetector
from converters.training import detection, pose
from converters.training.loop import Recipe, Task
from mobilepose_sdk.models import Kind


@dataclass(frozen=True)
class Design:
    """What a model is before it has weights.

    Attributes:
        name: the model's name.
        kind: pose network or person detector.
        network: makes an untrained network.
        input_size: (width, height) it is packaged for.
        stride: input pixels per output-map pixel.
        outputs: names of the network's outputs, in order.
        summary: one line for the card.
        paper: where the network comes from.
        task: what it learns, given the folder of the data.
        recipe: how it is trained.
        color: channel order of its input.
    """

    name: str
    kind: Kind
    network: Callable[[], nn.Module]
    input_size: tuple[int, int]
    stride: int
    outputs: tuple[str, ...]
    summary: str
    paper: str
    task: Callable[[Path], Task]
    recipe: Recipe
    color: Literal["bgr", "rgb"] = "bgr"


def _lpn(depth: int) -> Design:
    return Design(
        name=f"lpn-{depth}",
        kind="pose",
        network=lambda: LPN(depth),
        input_size=(192, 256),
        stride=4,
        outputs=("heatmaps",),
        summary=f"Lightweight Pose Network, {depth} layers: one person's 17 keypoints",
        paper="Zhang, Tang, Wu: Simple and Lightweight Human Pose Estimation (LPN), 2019",
        task=pose.PoseTask,
        recipe=pose.POSE_RECIPE,
    )


DESIGNS = {
    design.name: design
    for design in (
        *map(_lpn, (50, 101, 152)),
        Design(
            name="person-detector",
            kind="detector",
            network=PersonDetector,
            input_size=(256, 256),
            stride=detection.STRIDE,
            outputs=("centres",),
            summary="anchor-free person detector on MobilePoseNet's encoder and upsampling block",
            paper="blocks of Niu et al.: Designing Compact Convolutional Filters for Lightweight Human Pose "
            "Estimation, 2021; centres as in Zhou et al.: Objects as Points, 2019",
            task=detection.DetectionTask,
            recipe=detection.DETECTION_RECIPE,
        ),
    )
}

"""The networks this project builds, trains and packages, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from converters.checkpoints import load_checkpoint
from converters.nanodet_weights import load_nanodet
from converters.networks import efficienthrnet
from converters.networks.elpn import ELPN
from converters.networks.lpn import LPN
from converters.networks.mobileposenet import MobilePoseNet
from converters.networks.person_detector import PersonDetector
from converters.networks.slbnet import SLBNet
from converters.training import detection, pose
from converters.training.loop import Recipe, Task
from converters.training.recipes import bottom_up
from mobilepose_sdk.decoding.distances import STRIDES
from mobilepose_sdk.models import Approach, Kind
from mobilepose_sdk.preprocessing import PADDING

TIGHT = 1.05
"""How much exact boxes are grown for a network that was trained here, on both tighter and wider crops. `ablate` gives a
point or two of AP more there than at 1.25."""
GROUPING = {"max_people": 30, "detection_threshold": 0.1, "tag_threshold": 1.0, "adjust": True, "refine": True}
"""Decoder of a bottom-up network: the settings of the HigherHRNet family's evaluation."""


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
        load: fills the network with a checkpoint that others published.
        checkpoint_facts: its licence, and ``notes`` for the card.
        paper_ap: COCO val AP that the paper prints.
        approach: one person's crop, or the whole picture.
        decoder, padding: a top-down network's defaults; see :class:`mobilepose_sdk.models.ModelCard`.
        float_first: how many convolutions, from the first on, stay floating in its INT8 files.
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
    load: Callable[[nn.Module, Path], nn.Module] = load_checkpoint
    checkpoint_facts: dict[str, str] = field(default_factory=lambda: {"licence": "that of the checkpoint"})
    paper_ap: float = 0.0
    approach: Approach = "top-down"
    decoder: dict[str, Any] = field(default_factory=dict)
    padding: float = PADDING
    float_first: int = 0


def _top_down(
    name: str,
    network: Callable[[], nn.Module],
    summary: str,
    paper: str,
    paper_ap: float,
    input_size: tuple[int, int] = (192, 256),
    stem: tuple[str, ...] = (),
    float_first: int = 0,
) -> Design:
    return Design(
        name=name,
        kind="pose",
        network=network,
        input_size=input_size,
        stride=4,
        outputs=("heatmaps",),
        summary=f"{summary}: one person's 17 keypoints",
        paper=paper,
        paper_ap=paper_ap,
        task=pose.PoseTask,
        recipe=pose.recipe(input_size, stem),
        # Chosen by `ablate`: the blur gains a point of PCK and of AP, whichever the method. The methods are within
        # noise of each other; soft-argmax's keypoints tremble less in videos. β is LPN's.
        decoder={"method": "soft-argmax", "beta": 160.0, "blur": input_size[1] / 128},
        padding=TIGHT,
        float_first=float_first,
    )


def _lpn(depth: int) -> Design:
    return _top_down(
        f"lpn-{depth}",
        partial(LPN, depth),
        f"Lightweight Pose Network, {depth} layers",
        "Zhang, Tang, Wu: Simple and Lightweight Human Pose Estimation (LPN), 2019",
        {50: 69.1, 101: 70.4, 152: 71.0}[depth],
        stem=("conv1.", "bn1.", "layer1."),
    )


def _mobileposenet(width: int, height: int) -> Design:
    return _top_down(
        f"mobileposenet-{height}x{width}",
        MobilePoseNet,
        f"MobilePoseNet, {height}×{width}",
        "Niu et al.: Designing Compact Convolutional Filters for Lightweight Human Pose Estimation, 2021",
        {192: 66.2, 288: 69.0}[width],
        (width, height),
        stem=("encoder.stem.", "encoder.rows.0.", "encoder.rows.1.", "encoder.rows.2."),
        # Its first 16 channels are of very different range: as integers of one scale they cost accuracy.
        float_first=3,
    )


def _elpn(version: int) -> Design:
    return _top_down(
        f"elpn-v{version}",
        partial(ELPN, version),
        f"ELPN-V{version}, HRNet with separable blocks",
        "Li: Lightweight and Effective Human Pose Estimation Model Based on Multi-Angle Knowledge Distillation, 2023",
        {1: 70.5, 2: 71.8}[version],
        stem=("stem.", "layer1."),
    )


def _efficienthrnet(phi: int) -> Design:
    side = efficienthrnet.input_size(phi)
    return Design(
        name=f"efficienthrnet-h{phi}",
        kind="pose",
        approach="bottom-up",
        network=partial(efficienthrnet.EfficientHRNet, phi),
        input_size=(side, side),
        stride=4,
        outputs=("heatmaps_and_tags", "fine_heatmaps"),
        summary=f"EfficientHRNet H{phi}, bottom-up: everybody's 17 keypoints in one pass",
        paper="Neff et al.: EfficientHRNet: Efficient Scaling for Lightweight High-Resolution Multi-Person Pose "
        "Estimation, 2020",
        paper_ap={0: 64.8, -1: 59.2, -2: 52.9, -3: 44.8, -4: 35.7}[phi],
        color="rgb",
        task=bottom_up.BottomUpTask,
        recipe=bottom_up.recipe((side, side)),
        decoder=GROUPING,
    )


DESIGNS = {
    design.name: design
    for design in (
        *map(_lpn, (50, 101, 152)),
        _mobileposenet(192, 256),
        _mobileposenet(288, 384),
        _top_down(
            "slbnet",
            SLBNet,
            "Shallow and Lightweight Bilateral Network",
            "Zhou, Sun, Yang, Zhang: A Shallow and Lightweight Bilateral Network for Pose Estimation, 2021",
            68.2,
        ),
        *map(_elpn, (1, 2)),
        *map(_efficienthrnet, (0, -1, -2, -3, -4)),
        Design(
            name="person-detector",
            kind="detector",
            network=PersonDetector,
            load=load_nanodet,
            checkpoint_facts={
                "licence": "Apache-2.0",
                "notes": "NanoDet-g's public weights, cut down to people. They were trained on COCO train2017, which "
                "also holds the pictures of the figures above, so expect a little less elsewhere.",
            },
            input_size=(384, 384),
            stride=STRIDES[0],
            outputs=tuple(f"stride_{stride}" for stride in STRIDES),
            summary="anchor-free person detector, NanoDet-g",
            paper="NanoDet (RangiLyu, 2021); Li et al.: Generalized Focal Loss, 2020; Wang et al.: CSPNet, 2020",
            task=detection.DetectionTask,
            recipe=detection.DETECTION_RECIPE,
            # The first convolution as floats costs OpenVINO nothing; it makes TFLite's file quicker and more accurate.
            float_first=1,
        ),
    )
}

"""Trained networks that others learn from, and that labels are weighed against: they are asked, and never trained."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from converters.catalogue import DESIGNS
from converters.networks.movenet import load_movenet
from converters.training.loop import Normalised
from converters.training.pose import PoseTask
from converters.training.precision import mixed_precision
from converters.training.validation import Network
from converters.weights import PREBUILT, card_of_same_weights, load_weights, read_facts
from mobilepose_sdk import runtimes
from mobilepose_sdk.errors import InvalidInputError


def find_teacher(name: str) -> Network:
    """A trained top-down network: a packaged one by its name, or MoveNet Thunder by the path of its ``.bin``.

    On a CPU a packaged network is asked in its OpenVINO file, INT8, with as many threads as PyTorch has: that finds
    keypoints as well as the weights do, several times as fast. Weights that no file was made from are asked in PyTorch.

    Raises:
        InvalidInputError: there is no trained one of that name.
        CheckpointError: the file is not MoveNet Thunder's.
        ModelFileError: the packaged file is missing or was altered.
    """
    if name.endswith(".bin"):
        return in_pytorch(load_movenet(Path(name)))
    top_down = [design.name for design in DESIGNS.values() if design.task is PoseTask]
    teachers = [name for name in top_down if (PREBUILT / name / "weights.safetensors").exists()]
    if name not in teachers:
        raise InvalidInputError(
            f"{name!r} is no trained top-down network; give one of {', '.join(teachers)}, or the path of "
            "movenet-thunder.bin"
        )
    folder = PREBUILT / name
    card = card_of_same_weights(folder, read_facts(folder))
    if torch.cuda.is_available() or card is None or "openvino" not in card.files:
        return in_pytorch(load_weights(DESIGNS[name], folder))
    return in_openvino(runtimes.load(card, "openvino", None, torch.get_num_threads(), "CPU"))


def in_pytorch(network: nn.Module) -> Network:
    """A network that takes normalised crops, asked where the crops are."""
    model = Normalised(network.requires_grad_(False)).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def ask(crops: Tensor) -> Tensor:
        with torch.inference_mode(), mixed_precision(crops.device):
            heatmaps: Tensor = model.to(crops.device)(crops.contiguous(memory_format=torch.channels_last))
        return heatmaps.float().clone()  # outside of inference mode, so that a loss can use it

    return ask


def in_openvino(runtime: runtimes.Runtime) -> Network:
    """A model file with one output, the heatmaps."""

    def ask(crops: Tensor) -> Tensor:
        (heatmaps,) = runtime(crops.permute(0, 2, 3, 1).contiguous().numpy())
        return torch.from_numpy(heatmaps)

    return ask

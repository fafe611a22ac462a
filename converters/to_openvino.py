"""A trained network to OpenVINO IR: uint8 pictures in, normalisation inside, static shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openvino
import torch
from torch import Tensor, nn

from converters.deploy import deployable
from converters.training.loop import Normalised


class PictureInput(nn.Module):
    """(N, H, W, 3) uint8 pictures in the card's colour order to the network's outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.model = Normalised(network)

    def forward(self, pictures: Tensor) -> Any:
        return self.model(pictures.permute(0, 3, 1, 2))


def convert(network: nn.Module, input_size: tuple[int, int], outputs: tuple[str, ...]) -> openvino.Model:
    """IR of a network for one picture; the batch can be changed with ``reshape``.

    Args:
        network: takes normalised (N, 3, H, W).
        input_size: (width, height).
        outputs: names for the outputs, in order.
    """
    width, height = input_size
    example = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    model = openvino.convert_model(
        PictureInput(deployable(network)), example_input=example, input=[("pictures", [1, height, width, 3])]
    )
    model.input().get_node().set_friendly_name("pictures")
    for output, name in zip(model.outputs, outputs):
        output.get_tensor().set_names({name})
    return model


def save(model: openvino.Model, folder: Path, precision: str) -> list[Path]:
    """Write ``openvino/<precision>.xml`` and ``.bin``; floating weights are stored as FP16, or FP32 if that is asked.

    Returns:
        both paths, the ``.xml`` first.
    """
    path = folder / "openvino" / f"{precision}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, path, compress_to_fp16=precision != "fp32")
    return [path, path.with_suffix(".bin")]

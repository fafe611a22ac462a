"""A trained network to OpenVINO IR: uint8 pictures in, normalisation inside, static shapes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import openvino
import torch
from torch import Tensor, nn

from converters.deploy import deployable
from converters.training.loop import MEAN, STD


class PictureInput(nn.Module):
    """(N, H, W, 3) uint8 pictures in the card's colour order to the network's outputs.

    Pixels are normalised in the layout they come in, and outputs transposed in the open: left to itself, the plugin
    does both in slow passes of its own.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.scale: Tensor
        self.shift: Tensor
        deviation = torch.tensor(STD)
        self.register_buffer("scale", 1 / (255 * deviation))
        self.register_buffer("shift", -torch.tensor(MEAN) / deviation)

    def forward(self, pictures: Tensor) -> Any:
        outputs = self.network((pictures.float() * self.scale + self.shift).permute(0, 3, 1, 2))
        return tuple(map(_transposed, outputs)) if isinstance(outputs, tuple) else _transposed(outputs)


def _transposed(output: Tensor) -> Tensor:
    """The same map, its way from channels-last spelled out as a transposition of (N, H·W, C)."""
    pixels = output.permute(0, 2, 3, 1).flatten(1, 2)
    transposed: Tensor = torch.unflatten(pixels.transpose(1, 2), 2, output.shape[2:])
    return transposed


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
    with tempfile.TemporaryDirectory(dir=path.parent) as new:
        openvino.save_model(model, Path(new) / path.name, compress_to_fp16=precision != "fp32")
        # Put in place whole: writing over a file that a running program has mapped would crash that program.
        files = [(Path(new) / file.name).replace(file) for file in (path, path.with_suffix(".bin"))]
    return files

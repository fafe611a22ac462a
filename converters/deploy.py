"""Equal graphs that OpenVINO's CPU plugin likes, applied to a copy of the network just before it is exported.

Training code keeps the papers' layers; here they are rewritten, layer by layer, into the same sums in another order.
What each rewrite gains is in docs/deploy.md.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from converters.channel_order import blocked, reorder_stream
from converters.networks.blocks import ContextBottleneck, GlobalContext
from converters.networks.efficienthrnet import EfficientHRNet
from converters.networks.elpn import EfficientBottleneck
from converters.networks.lpn import LPN, LightweightBottleneck
from converters.networks.mobileposenet import LightweightUpsampling
from converters.networks.slbnet import PyramidPooling

PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Row and column of the four output pixels that one input pixel becomes."""
KERNEL_ROWS = ((3, 1), (2, 0))
"""Rows of a 4×4 transposed kernel that a phase uses, for the input above and the input below it; columns likewise."""


class PhaseConvs(nn.Module):
    """A ×2 transposed convolution (kernel 4, stride 2, padding 1) as four 2×2 convolutions, one an output phase.

    (N, C, H, W) to four maps (N, channels, H, W) in the order of :data:`PHASES`. Convolutions quantize per channel and
    run in integers, where the plugin keeps transposed ones in floating point; and no tap is a stored zero, as it would
    be in 3×3 phase kernels.

    Where a group has ``s`` inputs, the plugin would be slow at it, so each input becomes a depthwise convolution of its
    own. The input must then be ``s`` blocks of channels: see :func:`~converters.channel_order.blocked`.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        geometry = (layer.kernel_size, layer.stride, layer.padding, layer.bias)
        if geometry != ((4, 4), (2, 2), (1, 1), None):
            raise ValueError(f"only ×2 transposed convolutions, 4×4 without bias, have four 2×2 phases; got {layer}")
        if layer.groups not in (1, layer.out_channels):
            raise ValueError(f"a transposed convolution must be dense or have one output a group, got {layer}")
        self.groups = layer.groups
        if layer.groups == 1:
            shares = [layer.weight.transpose(0, 1)]
        else:
            shares = list(torch.tensor_split(layer.weight[blocked(layer)], layer.in_channels // layer.groups))
        self.shares = len(shares)
        self.kernels = nn.ParameterList(
            nn.Parameter(share[:, :, KERNEL_ROWS[row]][..., KERNEL_ROWS[column]].detach().clone(), requires_grad=False)
            for row, column in PHASES
            for share in shares
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        shares = x.chunk(self.shares, dim=1)
        return [self._phase(shares, phase) for phase in range(4)]

    def _phase(self, shares: Sequence[Tensor], phase: int) -> Tensor:
        row, column = PHASES[phase]
        kernels = self.kernels[phase * self.shares : (phase + 1) * self.shares]
        total = None
        for x, kernel in zip(shares, kernels):
            padded = F.pad(x, (1 - column, column, 1 - row, row))  # the plugin makes it the convolution's own padding
            part = F.conv2d(padded, kernel, groups=self.groups)
            total = part if total is None else total + part
        assert total is not None
        return total


def interleaved(phases: Sequence[Tensor]) -> Tensor:
    """Four maps (N, C, H, W) in the order of :data:`PHASES` to one (N, C, 2H, 2W).

    The phase is the outer channel, unlike in ``pixel_shuffle``: in the plugin's channels-last layout whole pixels are
    then copied, not single numbers.
    """
    channels = phases[0].shape[1]
    split: Tensor = torch.unflatten(torch.cat(list(phases), dim=1), 1, (2, 2, channels))
    return split.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)


class PhaseUpsample(nn.Module):
    """A ×2 transposed convolution, and the pixel-wise layers after it applied to each phase before they are mixed.

    What is mixed afterwards has the last layer's channels, which are fewer, and every phase fits into the cache.
    """

    def __init__(self, layer: nn.ConvTranspose2d, pixelwise: nn.Module | None = None) -> None:
        super().__init__()
        self.phases = PhaseConvs(layer)
        self.pixelwise = pixelwise or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return interleaved([self.pixelwise(phase) for phase in self.phases(x)])


class ContextBeforeProjection(nn.Module):
    """A bottleneck whose Global Context is pooled from the map before the last 1×1 convolution, not after it.

    The attention's logits and its average are linear in the map, so they move through the convolution: ``Σ a·(W·h+b)``
    is ``W·(Σ a·h) + b``, as the weights ``a`` sum to 1. The full-size projection then ends the block, and the plugin
    fuses the sum and the ReLU into it; in INT8 the whole block stays in integers.
    """

    def __init__(self, block: ContextBottleneck) -> None:
        super().__init__()
        self.expand = fuse_conv_bn_eval(block.conv1, block.bn1)
        self.conv = fuse_conv_bn_eval(block.conv2, block.bn2)
        self.project = fuse_conv_bn_eval(block.conv3, block.bn3)
        attention: GlobalContext = block.att
        first, *rest = attention.channel_add_conv
        self.mask = _after(self.project, attention.conv_mask)
        self.transform = nn.Sequential(_after(self.project, cast(nn.Conv2d, first)), *rest)
        self.shortcut = block.downsample or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.conv(torch.relu(self.expand(x))))
        logits = self.mask(hidden)
        mask = torch.softmax(logits.flatten(2), dim=2).view_as(logits)
        context = self.transform((hidden * mask).sum(dim=(2, 3), keepdim=True))
        return torch.relu(self.project(hidden) + (self.shortcut(x) + context))


def _after(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """One 1×1 convolution equal to two in a row."""
    assert first.bias is not None and second.bias is not None
    weight = second.weight.flatten(1)
    both = nn.Conv2d(first.in_channels, second.out_channels, 1)
    both.weight = nn.Parameter((weight @ first.weight.flatten(1))[:, :, None, None], requires_grad=False)
    both.bias = nn.Parameter(weight @ first.bias + second.bias, requires_grad=False)
    return both


class UpsampleWithHead(nn.Module):
    """EfficientHRNet's upsampling of ``cat(map, head(map))``, with the linear head folded into the transposed kernels.

    The head's bias is the weight of one more channel, which is 1 inside the map: padding must go on seeing zeros. That
    channel comes from a 1×1 convolution, because a constant next to the map would keep the kernels floating in INT8.
    """

    def __init__(self, layer: nn.ConvTranspose2d, head: nn.Conv2d, pixelwise: nn.Module) -> None:
        super().__init__()
        assert head.bias is not None
        width = head.in_channels
        of_map, of_head = layer.weight[:width], layer.weight[width:]
        folded = torch.einsum("hi,hoyx->ioyx", head.weight.flatten(1), of_head)
        bias = torch.einsum("h,hoyx->oyx", head.bias, of_head)
        both = nn.ConvTranspose2d(width + 1, layer.out_channels, 4, stride=2, padding=1, bias=False)
        both.weight = nn.Parameter(torch.cat([of_map + folded, bias[None]]), requires_grad=False)
        self.upsample = PhaseUpsample(both, pixelwise)
        self.append_one = nn.Conv2d(width, width + 1, 1)
        self.append_one.weight = nn.Parameter(torch.eye(width + 1, width)[:, :, None, None], requires_grad=False)
        self.append_one.bias = nn.Parameter(torch.eye(width + 1)[-1], requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to (N, channels, 2H, 2W)."""
        return cast(Tensor, self.upsample(self.append_one(x)))


class FoldedHeads(nn.Module):
    """An :class:`EfficientHRNet` whose upsampling reads the map alone: see :class:`UpsampleWithHead`."""

    def __init__(self, network: EfficientHRNet) -> None:
        super().__init__()
        self.network = network
        self.coarse, self.head = network.final_layers
        first, *refine = cast(nn.Sequential, network.deconv_layers[0])
        transposed, *pixelwise = cast(nn.Sequential, first)
        assert isinstance(transposed, nn.ConvTranspose2d) and isinstance(self.coarse, nn.Conv2d)
        self.upsampling = nn.Sequential(UpsampleWithHead(transposed, self.coarse, nn.Sequential(*pixelwise)), *refine)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        finest = self.network.finest(x)
        return self.coarse(finest), self.head(self.upsampling(finest))


class NestedPyramid(nn.Module):
    """A :class:`PyramidPooling` that pools the finest grid with a plain window and each coarser one from the finer.

    The plugin has no fast adaptive pooling. The grids must halve each time and the finest divide the map, as SLBNet's
    do; height and width are then fixed in the graph, the batch is not.
    """

    def __init__(self, pyramid: PyramidPooling) -> None:
        super().__init__()
        self.rates = pyramid.RATES
        self.branches = nn.ModuleList(cast(nn.Sequential, branch)[1] for branch in pyramid.branches)

    def forward(self, x: Tensor) -> Tensor:
        height, width = map(int, x.shape[2:])
        grids = [F.avg_pool2d(x, (height // self.rates[-1], width // self.rates[-1]))]
        for _ in self.rates[1:]:
            grids.append(F.avg_pool2d(grids[-1], 2))
        maps = [branch(grid) for branch, grid in zip(self.branches, reversed(grids))]
        enlarged = [F.interpolate(pooled, (height, width), mode="bilinear", align_corners=False) for pooled in maps]
        return torch.cat([x, *enlarged], dim=1)


def _lpn(network: LPN) -> LPN:
    """Both upsampling layers phase by phase; the second one up to the heatmaps."""
    layers = list(network.deconv_layers)
    half = len(layers) // 2
    first, second = layers[0], layers[half]
    assert isinstance(first, nn.ConvTranspose2d) and isinstance(second, nn.ConvTranspose2d)
    network.deconv_layers = nn.Sequential(
        PhaseUpsample(first, nn.Sequential(*layers[1:half])),
        PhaseUpsample(second, nn.Sequential(*layers[half + 1 :], network.final_layer)),
    )
    network.register_module("final_layer", nn.Identity())
    return network


def _lightweight_upsampling(layer: LightweightUpsampling) -> LightweightUpsampling:
    transposed, *pixelwise = layer.upsample
    assert isinstance(transposed, nn.ConvTranspose2d)
    layer.upsample = nn.Sequential(PhaseUpsample(transposed, nn.Sequential(*pixelwise, layer.project)))
    layer.register_module("project", nn.Identity())
    return layer


FORMS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    LightweightBottleneck: ContextBeforeProjection,
    EfficientBottleneck: ContextBeforeProjection,
    LightweightUpsampling: _lightweight_upsampling,
    PyramidPooling: NestedPyramid,
    LPN: _lpn,
    EfficientHRNet: FoldedHeads,
}
"""The form of each kind of layer that has one; inner layers first."""


def deployable(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode with every layer in its deployment form; the outputs stay equal."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    if isinstance(network, LPN):
        upsample = network.deconv_layers[0]
        assert isinstance(upsample, nn.ConvTranspose2d)
        reorder_stream(network.layer4, blocked(upsample))
    return _deployed(network).eval()


def _deployed(module: nn.Module) -> nn.Module:
    for name, child in list(module.named_children()):
        setattr(module, name, _deployed(child))
    form = FORMS.get(type(module))
    return form(module) if form else module

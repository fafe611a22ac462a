"""Equal graphs that CPU runtimes like, applied to a copy of the network just before it is exported."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from converters.networks.blocks import GroupedTransposedConv


class PhaseUpsample(nn.Module):
    """A :class:`GroupedTransposedConv` with its phase kernels computed once.

    An ordinary depthwise convolution and a depth-to-space: both quantize per channel, where a grouped transposed
    convolution stays slow and in floating point.
    """

    def __init__(self, layer: GroupedTransposedConv) -> None:
        super().__init__()
        self.channels_in, self.channels_out = layer.in_channels, layer.out_channels
        phases = 4 * layer.in_channels
        self.conv = nn.Conv2d(phases, phases, 3, padding=1, groups=phases, bias=False)
        self.conv.weight = nn.Parameter(layer.phase_kernels().detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        phases = self.conv(x.repeat_interleave(4, dim=1))
        if self.channels_in != self.channels_out:
            shared = self.channels_in // self.channels_out
            phases = phases.unflatten(1, (self.channels_out, shared, 4)).sum(dim=2).flatten(1, 2)
        return F.pixel_shuffle(phases, 2)


def deployable(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode with every layer in its deployment form; the outputs stay equal."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, GroupedTransposedConv):
                setattr(parent, name, PhaseUpsample(child))
    return network

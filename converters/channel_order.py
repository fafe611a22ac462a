"""Channels put into another order, by permuting the weights of whoever writes and reads them: it costs nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from converters.networks.lpn import LightweightBottleneck


def blocked(layer: nn.ConvTranspose2d) -> Tensor:
    """A grouped layer's input channels in the order of blocks.

    First the first input of every group, then the second of every group, and so on: input ``s · C + c`` belongs to
    output ``c``.
    """
    return torch.arange(layer.in_channels).view(layer.out_channels, -1).T.flatten()


def reorder_stream(layer: nn.Sequential, order: Tensor) -> None:
    """Permute the channels of everything that writes to, or reads from, the residual stream of LPN's blocks."""
    for index, block in enumerate(layer):
        assert isinstance(block, LightweightBottleneck)
        first, *_, last = block.att.channel_add_conv
        readers = [block.att.conv_mask, first, *([block.conv1] if index else [])]
        writers = [block.conv3, block.bn3, last, *(block.downsample or [])]
        for reader in readers:
            assert isinstance(reader, nn.Conv2d)
            reader.weight.data = reader.weight.data[:, order]
        for writer in writers:
            for tensor in (*writer.parameters(), *writer.buffers()):
                if tensor.dim():
                    tensor.data = tensor.data[order]

"""Parameters and multiply-accumulates of a network: the two costs that the papers print."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from converters.networks.blocks import GlobalContext


def count_parameters(network: nn.Module) -> int:
    """Learned values; BatchNorm's running statistics are not among them."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, input_size: tuple[int, int]) -> int:
    """Multiply-accumulates of one forward pass over one picture; the papers call them FLOPs.

    Every weight of a convolution counts once an output pixel, of a transposed convolution once an input pixel, of a
    linear layer once; Global Context's attention pooling counts once a value pooled. Biases, BatchNorm, activations,
    resizing and other pooling are free. So counted, the official LPN-50 has 0.996 G and EfficientHRNet H0 23.96 G,
    where LPN's G (and ELPN's) is 2^30, EfficientHRNet's 10^9.

    Args:
        network: takes one (1, 3, height, width) tensor.
        input_size: (width, height) in pixels.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        total += _macs(module, inputs[0], output)

    shapes_only = copy.deepcopy(network).to("meta").eval()  # no arithmetic, and the caller's network stays untouched
    for module in shapes_only.modules():
        module.register_forward_hook(count)
    width, height = input_size
    with torch.no_grad():
        shapes_only(torch.empty(1, 3, height, width, device="meta"))
    return total


def _macs(module: nn.Module, x: Tensor, output: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        return module.weight.numel() * output.shape[2:].numel()
    if isinstance(module, nn.ConvTranspose2d):
        return module.weight.numel() * x.shape[2:].numel()
    if isinstance(module, nn.Linear):
        return module.weight.numel()
    if isinstance(module, GlobalContext):
        return x.numel()
    return 0

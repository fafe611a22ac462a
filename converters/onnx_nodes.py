"""Functions of torch that the exporter writes as one ONNX node each, where by itself it would write many or none."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

Padding = tuple[int, int, int, int]
"""Left, right, top, bottom."""


def depth_to_space(x: Tensor) -> Tensor:
    """(N, 4·C, H, W), phases outermost, to (N, C, 2·H, 2·W): TFLite's order, so that no transpose is needed."""
    return cast(Tensor, _DepthToSpace.apply(x))  # type: ignore[no-untyped-call]


def padded(x: Tensor, padding: Padding) -> Tensor:
    """Zeros around (N, C, H, W)."""
    return cast(Tensor, _Pad.apply(x, padding))  # type: ignore[no-untyped-call]


def channels_of(x: Tensor, start: int, stop: int) -> Tensor:
    """Channels ``start`` to ``stop`` of (N, C, H, W)."""
    return cast(Tensor, _Channels.apply(x, start, stop))  # type: ignore[no-untyped-call]


def l2_normalized(x: Tensor) -> Tensor:
    """(N, C, H, W) divided by its length over the channels."""
    return cast(Tensor, _L2Normalized.apply(x))  # type: ignore[no-untyped-call]


class _DepthToSpace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x.view(x.shape[0], 4, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2), 2)

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        return g.op("DepthToSpace", x, blocksize_i=2, mode_s="DCR")


class _Pad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: Padding) -> Tensor:
        return F.pad(x, padding)

    @staticmethod
    def symbolic(g: Any, x: Any, padding: Padding) -> Any:
        left, right, top, bottom = padding
        pads = torch.tensor([0, 0, top, left, 0, 0, bottom, right])
        return g.op("Pad", x, g.op("Constant", value_t=pads), mode_s="constant")


class _Channels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, start: int, stop: int) -> Tensor:
        return x[:, start:stop]

    @staticmethod
    def symbolic(g: Any, x: Any, start: int, stop: int) -> Any:
        return g.op("Slice", x, *(g.op("Constant", value_t=torch.tensor([value])) for value in (start, stop, 1)))


class _L2Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x / x.square().sum(1, keepdim=True).sqrt()

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        return g.op("LpNormalization", x, axis_i=1, p_i=2)

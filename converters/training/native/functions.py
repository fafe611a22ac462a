"""The C++ layers as differentiable functions of maps (N, C, H, W), channels last, whose numbers are ``MAPS``."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

ACTIVATIONS: dict[type[nn.Module], int] = {nn.Identity: 0, nn.ReLU: 1, nn.Hardswish: 2, nn.SiLU: 3}
"""What may follow a BatchNorm or a gate, and its number in ``activations.h``."""


def norm(x: Tensor, layer: nn.BatchNorm2d, activation: type[nn.Module], shortcut: Tensor | None = None) -> Tensor:
    """``activation(layer(x) + shortcut)`` with the batch's statistics."""
    return _run(_Norm, x, layer.weight, layer.bias, layer, ACTIVATIONS[activation], shortcut)


def pool(x: Tensor) -> Tensor:
    """Mean over the pixels, (N, C, 1, 1) float32."""
    return _run(_Pool, x)


def gate(x: Tensor, gates: Tensor, activation: type[nn.Module] = nn.Identity) -> Tensor:
    """``activation(x * gates)`` for gates (N, C, 1, 1)."""
    return _run(_Gate, x, gates, ACTIVATIONS[activation])


def context(x: Tensor, weight: Tensor) -> Tensor:
    """The map's mean under ``softmax(x · weight)`` over the pixels, (N, C, 1, 1) float32; weight (1, C, 1, 1)."""
    return _run(_Context, x, weight)


def join(x: Tensor, added: Tensor, shortcut: Tensor) -> Tensor:
    """``relu(x + added + shortcut)`` for ``added`` (N, C, 1, 1)."""
    return _run(_Join, x, added, shortcut)


def depthwise(x: Tensor, weight: Tensor, stride: int, ahead: int = 0) -> Tensor:
    """Depthwise convolution with weights (C, 1, k, k), k 3 or 5, "same" padding, ``ahead`` pixels less of it before."""
    return _run(_Depthwise, x, weight, stride, ahead)


def upsample(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """×2 transposed convolution, kernel 4, with weights (C, 1, 4, 4): one output a group, and one input or two."""
    return _run(_Upsample, x, weight, groups)


def _run(function: type[Function], *inputs: Any) -> Tensor:
    return cast(Tensor, function.apply(*inputs))  # type: ignore[no-untyped-call]


def _pixels(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class _Norm(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        layer: nn.BatchNorm2d,
        activation: int,
        shortcut: Tensor | None,
    ) -> Tensor:
        x, shortcut, ctx.activation = _pixels(x), None if shortcut is None else _pixels(shortcut), activation
        running = layer.running_mean, layer.running_var, layer.momentum, layer.eps
        y, statistics = torch.ops.mobilepose.norm_forward(x, weight, bias, *running, activation, shortcut)
        ctx.save_for_backward(x, weight, bias, statistics, shortcut)
        return cast(Tensor, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        *saved, shortcut = ctx.saved_tensors
        native = torch.ops.mobilepose.norm_backward(_pixels(gradient), *saved, ctx.activation, shortcut)
        for_x, for_weight, for_bias, for_shortcut = native
        return for_x, for_weight, for_bias, None, None, for_shortcut


class _Pool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return cast(Tensor, torch.ops.mobilepose.pool_forward(_pixels(x))[:, :, None, None])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        pixels = ctx.shape[2] * ctx.shape[3]
        share: Tensor = (gradient / pixels).to(ctx.dtype)
        return share.expand(ctx.shape)  # a view, not a map


class _Gate(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gates: Tensor, activation: int) -> Tensor:
        x, ctx.activation = _pixels(x), activation
        ctx.save_for_backward(x, gates)
        return cast(Tensor, torch.ops.mobilepose.gate_forward(x, gates, activation))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, gates = ctx.saved_tensors
        for_x, for_gates = torch.ops.mobilepose.gate_backward(_pixels(gradient), x, gates, ctx.activation)
        return for_x, for_gates.view_as(gates).to(gates.dtype), None


class _Context(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x = _pixels(x)
        mean, attention = torch.ops.mobilepose.context_forward(x, weight)
        ctx.save_for_backward(x, weight, attention)
        return cast(Tensor, mean[:, :, None, None])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight, attention = ctx.saved_tensors
        for_x, for_weight = torch.ops.mobilepose.context_backward(gradient, x, weight, attention)
        return for_x, for_weight.view_as(weight)


class _Join(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, added: Tensor, shortcut: Tensor) -> Tensor:
        y = torch.ops.mobilepose.join_forward(_pixels(x), added, _pixels(shortcut))
        ctx.save_for_backward(y)
        ctx.shape, ctx.dtype = added.shape, added.dtype
        return cast(Tensor, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        for_x, for_added = torch.ops.mobilepose.join_backward(_pixels(gradient), *ctx.saved_tensors)
        return for_x, for_added.view(ctx.shape).to(ctx.dtype), for_x


class _Depthwise(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, ahead: int) -> Tensor:
        x, ctx.placed = _pixels(x), (stride, ahead)
        ctx.save_for_backward(x, weight)
        return cast(Tensor, torch.ops.mobilepose.depthwise_forward(x, weight, stride, ahead))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        own = torch.ops.mobilepose.depthwise_backward(_pixels(gradient), *ctx.saved_tensors, *ctx.placed)
        return *own, None, None


class _Upsample(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        x = _pixels(x)
        ctx.save_for_backward(x, weight)
        return cast(Tensor, torch.ops.mobilepose.upsample_forward(x, weight, groups))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return *torch.ops.mobilepose.upsample_backward(_pixels(gradient), *ctx.saved_tensors), None

"""A network's layers, computed by the C++ ones while it is trained, and as they were otherwise."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from converters.networks.blocks import ContextBottleneck, DepthwiseConv, GroupedTransposedConv, SqueezeExcite
from converters.networks.efficienthrnet import BasicBlock, SwishSqueezeExcite
from converters.networks.elpn import LightweightBasicBlock
from converters.networks.lpn import LPN
from converters.networks.mobileposenet import InvertedBottleneck, LightweightUpsampling
from converters.training.native import MAPS, functions, kernels


def use_native_layers(network: nn.Module) -> None:
    """Let a network on the CPU use the C++ layers where the machine can run them.

    Parameters, names and what is computed stay; a layer only gets another class, whose ``forward`` is faster.
    """
    if not kernels():
        return
    for layer in list(network.modules()):
        for kind, native in NATIVE.items():
            if isinstance(layer, kind):
                layer.__class__ = native
    for layer in network.modules():
        if isinstance(layer, nn.Sequential):
            for index in range(len(layer) - 1):
                layer[index + 1] = _after(layer[index], layer[index + 1])
        elif isinstance(layer, LPN):
            layer.relu = _after(layer.bn1, layer.relu)  # type: ignore[assignment]
        elif isinstance(layer, (NativeContextBottleneck, NativeResidualBlock)):
            for norm in (layer.bn1, layer.bn2):
                _after(norm, nn.ReLU())
        elif isinstance(layer, NativeBasicBlock):
            for convs in (layer.conv1, layer.conv2):
                _after(convs[-1], nn.ReLU())
        elif isinstance(layer, NativeInvertedBottleneck) and layer.attention is None:
            layer.activation = _after(layer.depthwise[1], layer.activation)  # type: ignore[assignment]


def _after(layer: nn.Module, activation: nn.Module) -> nn.Module:
    """What is left to do after ``layer``: a BatchNorm takes an activation over."""
    if not isinstance(layer, NativeNorm) or type(activation) not in functions.ACTIVATIONS:
        return activation
    layer.activation = type(activation)
    return nn.Identity()


def _fits(layer: nn.Module, x: Tensor) -> bool:
    return layer.training and x.dtype == MAPS


class NativeNorm(nn.BatchNorm2d):
    activation: type[nn.Module] = nn.Identity

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if _fits(self, x):
            return functions.norm(x, self, self.activation, shortcut)
        out = super().forward(x)
        return cast(Tensor, self.activation()(out if shortcut is None else out + shortcut))


class NativeDepthwiseConv(DepthwiseConv):
    def forward(self, x: Tensor) -> Tensor:
        return functions.depthwise(x, self.weight, self.stride[0], self.ahead) if _fits(self, x) else super().forward(x)


class NativeTransposedConv(GroupedTransposedConv):
    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if _fits(self, x) and self.groups % 8 == 0 and self.in_channels <= 2 * self.groups:
            return functions.upsample(x, self.weight, self.groups)
        return super().forward(x, output_size)


class NativeSqueezeExcite(SqueezeExcite):
    def pooled(self, x: Tensor) -> Tensor:
        return functions.pool(x) if _fits(self, x) else super().pooled(x)


class NativeSwishSqueezeExcite(SwishSqueezeExcite):
    def forward(self, x: Tensor) -> Tensor:
        if not _fits(self, x):
            return super().forward(x)
        return functions.gate(x, cast(Tensor, self.se[1:](functions.pool(x))))


class NativeResidualBlock(BasicBlock):
    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.bn2(self.conv2(self.bn1(self.conv1(x))), x))


class NativeContextBottleneck(ContextBottleneck):
    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        if not _fits(self, out):
            return torch.relu(self.att(out) + shortcut)
        context = functions.context(out, self.att.conv_mask.weight)  # its bias moves all logits alike
        return functions.join(out, self.att.channel_add_conv(context), shortcut)


class NativeBasicBlock(LightweightBasicBlock):
    def forward(self, x: Tensor) -> Tensor:
        *separable, norm = self.conv2
        out = self.conv1(x)
        for layer in separable:
            out = layer(out)
        return cast(Tensor, norm(out, x))


class NativeInvertedBottleneck(InvertedBottleneck):
    def forward(self, x: Tensor) -> Tensor:
        out = self.depthwise(x if self.expand is None else self.expand(x))
        if self.attention is not None and _fits(self, out):
            out = functions.gate(out, self.attention(out), type(self.activation))
        elif self.attention is not None:
            out = self.activation(out * self.attention(out))
        conv, norm = self.project
        return cast(Tensor, norm(conv(out), x if self.shortcut else None))


class NativeUpsampling(LightweightUpsampling):
    def gated(self, x: Tensor) -> Tensor:
        return functions.gate(x, self.attention(x) + 1) if _fits(self, x) else super().gated(x)


NATIVE: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: NativeNorm,
    DepthwiseConv: NativeDepthwiseConv,
    GroupedTransposedConv: NativeTransposedConv,
    SqueezeExcite: NativeSqueezeExcite,
    SwishSqueezeExcite: NativeSwishSqueezeExcite,
    BasicBlock: NativeResidualBlock,
    ContextBottleneck: NativeContextBottleneck,
    LightweightBasicBlock: NativeBasicBlock,
    InvertedBottleneck: NativeInvertedBottleneck,
    LightweightUpsampling: NativeUpsampling,
}

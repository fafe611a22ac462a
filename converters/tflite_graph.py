"""A network in the form that TFLite runs well, and its ONNX file: the same maths, in operators that XNNPACK has.

What onnx2tf would turn into something slow or wrong is rewritten here, on a copy, layer by layer:

* a grouped transposed convolution becomes a depthwise 3×3 with four phase kernels a channel and one depth-to-space,
  its BatchNorm and ReLU moved before the depth-to-space;
* Global Context blocks become convolutions on 1×1 maps and an L2 normalisation, which has an integer kernel;
* padding, pooling and the squeeze-and-excite gate are written so that zero stays zero and no infinity appears.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.networks.blocks import GlobalContext, GroupedTransposedConv, SqueezeExcite
from converters.networks.efficientnet_lite import SamePadded
from converters.networks.lpn import LPN, LightweightBottleneck
from converters.training.loop import STD

OPSET = 17
INPUT = "pictures"


class _DepthToSpace(torch.autograd.Function):
    """(N, 4·C, H, W), phases outermost, to (N, C, 2·H, 2·W): TFLite's order, so that no transpose is needed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2), 2)

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        return g.op("DepthToSpace", x, blocksize_i=2, mode_s="DCR")


class _Pad(torch.autograd.Function):
    """Zero padding (left, right, top, bottom), as one node instead of the exporter's dozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
        return F.pad(x, padding)

    @staticmethod
    def symbolic(g: Any, x: Any, padding: tuple[int, int, int, int]) -> Any:
        left, right, top, bottom = padding
        pads = torch.tensor([0, 0, top, left, 0, 0, bottom, right])
        return g.op("Pad", x, g.op("Constant", value_t=pads), mode_s="constant")


class _L2Normalized(torch.autograd.Function):
    """(N, C, H, W) divided by its length over the channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x / x.square().sum(1, keepdim=True).sqrt()

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        return g.op("LpNormalization", x, axis_i=1, p_i=2)


class ZeroPadding(nn.Module):
    def __init__(self, padding: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, _Pad.apply(x, self.padding))


class PhaseUpsample(nn.Module):
    """A :class:`GroupedTransposedConv` with the BatchNorm and ReLU that follow it.

    The input is laid side by side four times, once a phase, and convolved depthwise. Where an output channel sums
    ``s`` inputs, these must be ``s`` blocks of channels: input ``s · C + c`` goes to output ``c``; see :func:`blocked`.
    """

    def __init__(self, layer: GroupedTransposedConv, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        channels = layer.out_channels
        self.shared = layer.in_channels // channels
        scale, shift = _affine(norm)
        kernels = layer.phase_kernels().unflatten(0, (channels, self.shared, 4)) * scale.view(-1, 1, 1, 1, 1, 1)
        self.convs = nn.ModuleList()
        for share in range(self.shared):
            conv = nn.Conv2d(4 * channels, 4 * channels, 3, padding=1, groups=4 * channels, bias=share == 0)
            _set(conv, kernels[:, share].transpose(0, 1).flatten(0, 1), shift.repeat(4) if share == 0 else None)
            self.convs.append(conv)

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[1] // self.shared
        blocks = x.split([width] * self.shared, dim=1) if self.shared > 1 else (x,)
        phases = [conv(torch.cat([block] * 4, dim=1)) for conv, block in zip(self.convs, blocks)]
        total = phases[0]
        for more in phases[1:]:
            total = total + more
        return cast(Tensor, _DepthToSpace.apply(torch.relu(total)))


def blocked(layer: GroupedTransposedConv) -> Tensor:
    """The input channels in the order :class:`PhaseUpsample` reads them."""
    return torch.arange(layer.in_channels).view(layer.out_channels, -1).T.flatten()


class Context(nn.Module):
    """A :class:`GlobalContext` whose LayerNorm is an L2 normalisation.

    The mean is taken out of the first convolution's weights. A last channel, the constant ``√(h·ε)``, makes the squared
    length ``h · (variance + ε)``, so the result is exact.
    """

    def __init__(self, block: GlobalContext) -> None:
        super().__init__()
        first, norm, _, self.last = block.channel_add_conv
        assert isinstance(first, nn.Conv2d) and isinstance(norm, nn.LayerNorm) and first.bias is not None
        hidden = first.out_channels
        self.mask = block.conv_mask
        self.squeeze = nn.Conv2d(first.in_channels, hidden + 1, 1)
        weight = first.weight - first.weight.mean(0, keepdim=True)
        length = torch.tensor([math.sqrt(hidden * norm.eps)])
        _set(
            self.squeeze, torch.cat([weight, weight[:1] * 0]), torch.cat([first.bias - first.bias.mean(), length])
        )
        self.scale = nn.Conv2d(hidden + 1, hidden, 1)
        diagonal = torch.eye(hidden, hidden + 1) * norm.weight.view(hidden, 1) * math.sqrt(hidden)
        _set(self.scale, diagonal[:, :, None, None], norm.bias.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """(1, C, H, W): the batch is in the shapes."""
        logits = self.mask(x)
        mask = logits.reshape(1, -1, 1, 1).softmax(dim=1).reshape(1, 1, *x.shape[2:])
        context = (x * mask).sum(dim=(2, 3), keepdim=True)
        normalized = _L2Normalized.apply(self.squeeze(context))
        return x + cast(Tensor, self.last(torch.relu(self.scale(normalized))))


def _hard_sigmoid(x: Tensor) -> Tensor:
    return F.relu6(x + 3.0) * (1 / 6)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift a channel of a BatchNorm in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def _set(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    conv.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    conv.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)


def _reorder_stream(layer: nn.Sequential, order: Tensor) -> None:
    """Permute the channels of everything that writes to, or reads from, the residual stream of LPN's blocks."""
    for index, block in enumerate(layer):
        assert isinstance(block, LightweightBottleneck)
        first, *_, last = block.att.channel_add_conv
        readers = [block.att.conv_mask, first, *([block.conv1] if index else [])]
        writers = [block.conv3, block.bn3, last, *(block.downsample or [])]
        for reader in readers:
            reader.weight.data = reader.weight.data[:, order]  # type: ignore[union-attr, operator, index]
        for writer in writers:
            for tensor in (*writer.parameters(), *writer.buffers()):
                if tensor.dim():
                    tensor.data = tensor.data[order]


def _upsampling(children: nn.Sequential) -> None:
    """Replace transposed convolution, BatchNorm, ReLU, wherever they stand in a row."""
    for index, layer in enumerate(children):
        if isinstance(layer, GroupedTransposedConv):
            norm, activation = children[index + 1], children[index + 2]
            assert isinstance(norm, nn.BatchNorm2d) and isinstance(activation, nn.ReLU)
            children[index] = PhaseUpsample(layer, norm)
            children[index + 1] = children[index + 2] = nn.Identity()


REPLACEMENTS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    GlobalContext: Context,
    # onnx2tf would pad with minus infinity, which ruins the integer scale; LPN pools what comes out of a ReLU.
    nn.MaxPool2d: lambda pool: nn.Sequential(ZeroPadding((pool.padding,) * 4), nn.MaxPool2d(pool.kernel_size, pool.stride)),
    nn.ZeroPad2d: lambda pad: ZeroPadding(pad.padding),
    SamePadded: lambda padded: nn.Sequential(ZeroPadding(padded.padding), padded.conv),
}


def tflite_form(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode that takes (1, 3, H, W) float pictures, 0 to 255, less the mean.

    The division by the deviation is in the first convolution; subtracting the mean is left to the caller, because the
    zero padding of the first convolution means the mean.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    if isinstance(network, LPN):
        upsample = network.deconv_layers[0]
        assert isinstance(upsample, GroupedTransposedConv)
        _reorder_stream(network.layer4, blocked(upsample))
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.weight.data /= torch.tensor(STD).view(1, 3, 1, 1) * 255
    for parent in list(network.modules()):
        if isinstance(parent, nn.Sequential):
            _upsampling(parent)
        if isinstance(parent, SqueezeExcite) and parent.gate is F.hardsigmoid:
            parent.gate = _hard_sigmoid
        for name, child in list(parent.named_children()):
            if type(child) in REPLACEMENTS:
                setattr(parent, name, REPLACEMENTS[type(child)](child))
    return network


def export_onnx(network: nn.Module, input_size: tuple[int, int], outputs: tuple[str, ...], path: Path) -> None:
    """Write :func:`tflite_form` of a network for one picture.

    Args:
        network: takes normalised (N, 3, H, W).
        input_size: (width, height).
        outputs: names for the outputs, in order.
        path: the ``.onnx`` to write.
    """
    width, height = input_size
    with warnings.catch_warnings():
        # The exporter's successor emits layouts that onnx2tf misreads; shapes are constant by design.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            tflite_form(network),
            (torch.zeros(1, 3, height, width),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(outputs),
        )

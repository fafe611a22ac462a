"""A network in the form that TFLite runs well, and its ONNX file: the same maths, in operators that XNNPACK has.

What onnx2tf would turn into something slow or wrong is rewritten here, on a copy, layer by layer:

* a grouped transposed convolution becomes a depthwise 3×3 with four phase kernels a channel and one depth-to-space,
  its BatchNorm and ReLU moved before the depth-to-space;
* Global Context blocks become convolutions on 1×1 maps and an L2 normalisation, which has an integer kernel;
* padding, pooling and the squeeze-and-excite gate are written so that zero stays zero and no infinity appears.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.channel_order import blocked, reorder_stream
from converters.networks.blocks import GlobalContext, GroupedTransposedConv, SqueezeExcite
from converters.networks.efficienthrnet import EfficientHRNet
from converters.networks.lpn import LPN
from converters.networks.mobileposenet import InvertedBottleneck, MobilePoseNet
from converters.networks.person_detector import EdgeMaxPool
from converters.networks.slbnet import PyramidPooling
from converters.tflite_layers import (
    Context,
    EdgePadding,
    IntegerPReLU,
    PhaseUpsample,
    Pyramid,
    SeparateScales,
    SixfoldHardSwish,
    ZeroPadding,
)
from converters.training.loop import STD

OPSET = 17
INPUT = "pictures"


def _hard_sigmoid(x: Tensor) -> Tensor:
    return F.relu6(x + 3.0) * (1 / 6)


def _absorb_sixths(network: MobilePoseNet) -> None:
    """Use :class:`SixfoldHardSwish`, and divide by six in the next convolution."""
    for row in network.encoder.rows:
        assert isinstance(row, InvertedBottleneck)
        if isinstance(row.activation, nn.Hardswish):
            assert row.expand is not None
            row.expand[2] = SixfoldHardSwish()
            row.register_module("activation", SixfoldHardSwish())
            _multiply(row.depthwise[0], 1 / 6)
            _multiply(row.project[0], 1 / 6)
    # The stem's map is also the first row's shortcut, so that row's output stays sixfold up to the second row.
    first, second, *_ = network.encoder.rows
    assert isinstance(first, InvertedBottleneck) and first.shortcut and first.expand is None
    assert isinstance(second, InvertedBottleneck) and not second.shortcut and second.expand is not None
    network.encoder.stem[2] = SixfoldHardSwish()
    _multiply(first.depthwise[0], 1 / 6)
    _multiply(first.project[1], 6)
    _multiply(second.expand[0], 1 / 6)


def _multiply(layer: nn.Module, factor: float) -> None:
    """Multiply what a convolution without bias, or a BatchNorm, gives."""
    for parameter in layer.parameters():
        parameter.data *= factor


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
    nn.PReLU: IntegerPReLU,
    PyramidPooling: Pyramid,
    # onnx2tf would pad with minus infinity, which ruins the integer scale; LPN pools what comes out of a ReLU.
    nn.MaxPool2d: lambda pool: nn.Sequential(
        ZeroPadding((pool.padding,) * 4), nn.MaxPool2d(pool.kernel_size, pool.stride)
    ),
    nn.ZeroPad2d: lambda pad: ZeroPadding(pad.padding),
    EdgeMaxPool: lambda pool: nn.Sequential(EdgePadding(), nn.MaxPool2d(3, 2)),
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
        reorder_stream(network.layer4, blocked(upsample))
    if isinstance(network, MobilePoseNet):
        _absorb_sixths(network)
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
    return SeparateScales(network) if isinstance(network, EfficientHRNet) else network


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
        # This exporter's successor ignores the symbolic forms of onnx_nodes; shapes are constant by design.
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

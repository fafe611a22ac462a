"""Every rewrite of the exporter computes what the layer it replaces computes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial

import nncf
import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn

from converters.channel_order import blocked
from converters.deploy import (
    ContextBeforeProjection,
    NestedPyramid,
    PhaseConvs,
    PhaseUpsample,
    UpsampleWithHead,
    deployable,
    interleaved,
)
from converters.networks.blocks import GlobalContext, GroupedTransposedConv
from converters.networks.efficienthrnet import EfficientHRNet
from converters.networks.elpn import ELPN, EfficientBottleneck
from converters.networks.lpn import LPN, LightweightBottleneck
from converters.networks.mobileposenet import LightweightUpsampling, MobilePoseNet
from converters.networks.person_detector import PersonDetector
from converters.networks.slbnet import PyramidPooling, SLBNet
from converters.to_openvino import PictureInput, convert

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lpn-50": LPN,
    "mobileposenet": MobilePoseNet,
    "slbnet": SLBNet,
    "elpn-v1": ELPN,
    "efficienthrnet-h-4": partial(EfficientHRNet, -4),
    "person-detector": PersonDetector,
}
BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "LPN, with a projected shortcut": partial(LightweightBottleneck, 8, 32, 2),
    "LPN, with its input as shortcut": partial(LightweightBottleneck, 32, 32),
    "ELPN": partial(EfficientBottleneck, 32, 16, 64),
}


def randomised(network: nn.Module) -> nn.Module:
    """Nothing is the identity: neither BatchNorms nor Global Context blocks."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                nn.init.normal_(tensor, std=0.2)
            for tensor in (module.running_var, module.weight):
                nn.init.uniform_(tensor, 0.5, 1.5)
        if isinstance(module, GlobalContext):
            for parameter in module.channel_add_conv[-1].parameters():
                nn.init.normal_(parameter)
    return network.eval().requires_grad_(False)


def transposed_conv(channels_in: int, channels_out: int, groups: int) -> nn.ConvTranspose2d:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1, groups=groups, bias=False)
    return layer.requires_grad_(False)


def assert_close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


# Transposed convolutions


def test_four_phases_interleave_into_a_map_twice_as_large() -> None:
    phases = [torch.randn(2, 3, 4, 5) for _ in range(4)]
    whole = interleaved(phases)
    assert whole.shape == (2, 3, 8, 10)
    for phase, (row, column) in zip(phases, [(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert torch.equal(whole[:, :, row::2, column::2], phase)


@pytest.mark.parametrize(
    ("channels_in", "channels_out", "groups"),
    [(16, 16, 16), (32, 16, 16), (48, 16, 16), (12, 5, 1)],
    ids=["depthwise", "two inputs a group", "three inputs a group", "dense"],
)
def test_phases_equal_the_transposed_convolution(channels_in: int, channels_out: int, groups: int) -> None:
    layer = transposed_conv(channels_in, channels_out, groups)
    x = torch.randn(2, channels_in, 5, 7)
    ordered = x if groups == 1 else x[:, blocked(layer)]
    assert_close(PhaseUpsample(layer)(ordered), layer(x))


def test_pixelwise_layers_may_come_before_the_phases_are_mixed() -> None:
    layer = transposed_conv(16, 16, 16)
    after = randomised(nn.Sequential(nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 1)))
    x = torch.randn(2, 16, 5, 7)
    assert_close(PhaseUpsample(layer, after)(x), after(layer(x)))


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 4, 2, 2),
        nn.ConvTranspose2d(4, 4, 4, 2, 1, bias=True),
        nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2, bias=False),
    ],
    ids=["2×2", "bias", "two outputs a group"],
)
def test_a_transposed_convolution_without_such_phases_is_refused(layer: nn.ConvTranspose2d) -> None:
    with pytest.raises(ValueError, match="transposed convolution"):
        PhaseConvs(layer)


def test_mobileposenet_upsampling_equals_its_deployment_form() -> None:
    layer = randomised(LightweightUpsampling(8, 12, expanded=16))
    x = torch.randn(2, 8, 5, 7)
    assert_close(deployable(layer)(x), layer(x))


# Blocks


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
def test_context_may_be_pooled_before_the_projection(make: Callable[[], nn.Module]) -> None:
    block = randomised(make())
    channels = next(iter(block.parameters())).shape[1]
    x = torch.randn(2, channels, 8, 6)
    assert_close(ContextBeforeProjection(block)(x), block(x))


def test_a_head_folds_into_the_upsampling_that_reads_it() -> None:
    torch.manual_seed(0)
    head, layer = nn.Conv2d(6, 10, 1).requires_grad_(False), transposed_conv(16, 6, 1)
    x = torch.randn(2, 6, 5, 7)
    folded = UpsampleWithHead(layer, head, nn.Identity())(x)
    assert_close(folded, layer(torch.cat((x, head(x)), dim=1)))


def test_a_pyramid_may_be_pooled_from_fine_to_coarse() -> None:
    pyramid = randomised(PyramidPooling(16))
    x = torch.randn(2, 16, 16, 24)
    assert_close(NestedPyramid(pyramid)(x), pyramid(x))


# Networks


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_deployable_network_equals_the_trained_one(make: Callable[[], nn.Module]) -> None:
    network = randomised(make())
    x = torch.randn(2, 3, 96, 64)
    got, expected = deployable(network)(x), network(x)
    for one, other in zip(*((maps if isinstance(maps, tuple) else (maps,)) for maps in (got, expected)), strict=True):
        assert_close(one, other)


def test_deployable_leaves_the_network_alone() -> None:
    network = randomised(LPN(50)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    deployable(network)
    assert network.training
    assert isinstance(network.deconv_layers[0], GroupedTransposedConv)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@cache
def network_and_ir(name: str) -> tuple[nn.Module, openvino.Model]:
    network = randomised(NETWORKS[name]())
    outputs = {EfficientHRNet: ("maps", "fine"), PersonDetector: ("fine", "middle", "coarse")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about shapes that are constant by design
        return network, convert(network, (64, 96), outputs.get(type(network), ("maps",)))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("slbnet", (4, 96, 64, 3)),
        ("elpn-v1", (4, 96, 64, 3)),
        ("efficienthrnet-h-4", (4, 96, 64, 3)),
        ("efficienthrnet-h-4", (2, 128, 96, 3)),  # the multi-scale test
    ],
)
def test_an_ir_equals_torch_in_other_batches_and_sizes(name: str, shape: tuple[int, ...]) -> None:
    network, model = network_and_ir(name)
    model = model.clone()
    model.reshape(list(shape))
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    got = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(pictures)
    with torch.no_grad():
        expected = PictureInput(network)(torch.from_numpy(pictures))
    for index, maps in enumerate(expected if isinstance(expected, tuple) else (expected,)):
        assert got[index].shape == tuple(maps.shape)
        assert np.abs(got[index] - maps.numpy()).max() <= 1e-3 * np.ptp(maps.numpy())


def executed(model: openvino.Model) -> list[tuple[str, str]]:
    """Type and implementation of the layers that OpenVINO runs."""
    graph = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).get_runtime_model()
    infos = [node.get_rt_info() for node in graph.get_ops()]
    return [(info["layerType"].astype(str), info["primitiveType"].astype(str)) for info in infos]


@pytest.mark.parametrize("name", ["lpn-50", "efficienthrnet-h-4"])
def test_a_deployed_network_has_neither_transposed_convolutions_nor_padding_layers(name: str) -> None:
    layers = {kind for kind, _ in executed(network_and_ir(name)[1])}
    assert "Convolution" in layers
    assert not layers & {"ConvolutionBackpropData", "GroupConvolutionBackpropData", "Deconvolution", "Pad", "MatMul"}


@pytest.mark.parametrize("name", ["lpn-50", "efficienthrnet-h-4"])
def test_every_dense_convolution_runs_in_integers_after_quantization(name: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 96, 64, 3), dtype=np.uint8)
    quantized = nncf.quantize(network_and_ir(name)[1], nncf.Dataset([picture]), preset=nncf.QuantizationPreset.MIXED)
    convolutions = [how for kind, how in executed(quantized) if kind == "Convolution" and "_dw_" not in how]
    assert len(convolutions) > 80
    assert [how for how in convolutions if not how.endswith("I8")] == []

"""The five papers' networks: size, cost, parameter names, shapes, and the blocks' arithmetic."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from converters.complexity import count_macs, count_parameters
from converters.networks.blocks import GlobalContext, GroupedTransposedConv, HighResolutionModule
from converters.networks.efficienthrnet import EfficientHRNet, MBConv, branch_widths, input_size
from converters.networks.elpn import ELPN
from converters.networks.lpn import LPN
from converters.networks.mobileposenet import MobilePoseNet
from converters.networks.slbnet import SLBNet

Build = Callable[..., nn.Module]

TOP_DOWN: dict[str, Build] = {
    "lpn-50": lambda **options: LPN(50, **options),
    "lpn-101": lambda **options: LPN(101, **options),
    "lpn-152": lambda **options: LPN(152, **options),
    "mobileposenet": MobilePoseNet,
    "slbnet": SLBNet,
    "elpn-v1": lambda **options: ELPN(1, **options),
    "elpn-v2": lambda **options: ELPN(2, **options),
}
BOTTOM_UP: dict[str, Build] = {
    "efficienthrnet-h0": lambda **options: EfficientHRNet(0, **options),
    "efficienthrnet-h-1": lambda **options: EfficientHRNet(-1, **options),
    "efficienthrnet-h-2": lambda **options: EfficientHRNet(-2, **options),
    "efficienthrnet-h-3": lambda **options: EfficientHRNet(-3, **options),
    "efficienthrnet-h-4": lambda **options: EfficientHRNet(-4, **options),
}
NETWORKS = TOP_DOWN | BOTTOM_UP
OFFICIAL = {
    "efficienthrnet-h-1": "f59a173f485dc514",
    "efficienthrnet-h-2": "e4db67493f7d5596",
    "efficienthrnet-h-3": "14ffc36b24907eca",
    "efficienthrnet-h-4": "77079ff05972c017",
    "efficienthrnet-h0": "d701b3169e1186f7",
    "lpn-101": "06ffda819d3b9250",
    "lpn-152": "ed4697a16217879f",
    "lpn-50": "fcb3e4874914eba9",
}
"""Fingerprints of the names and shapes in the official releases' checkpoints: see :func:`fingerprint`."""


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def randomise_norms(network: nn.Module) -> None:
    """Running statistics as after a training, so that no BatchNorm is close to an identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)


# What the papers print


@pytest.mark.parametrize(
    ("name", "millions", "giga"),
    [("lpn-50", "2.911", "0.996"), ("lpn-101", "5.353", "1.403"), ("lpn-152", "7.377", "1.813")],
)
def test_lpn_has_the_official_size_and_cost(name: str, millions: str, giga: str) -> None:
    network = NETWORKS[name]()
    assert f"{count_parameters(network) / 1e6:.3f}" == millions
    assert f"{count_macs(network, (192, 256)) / 2**30:.3f}" == giga


@pytest.mark.parametrize(
    ("phi", "side", "millions", "giga"),
    [
        (0, 512, "19.73", "23.96"),
        (-1, 480, "13.00", "13.13"),
        (-2, 448, "8.26", "7.03"),
        (-3, 416, "5.36", "3.76"),
        (-4, 384, "2.76", "1.81"),
    ],
)
def test_efficienthrnet_has_the_official_size_and_cost(phi: int, side: int, millions: str, giga: str) -> None:
    network = EfficientHRNet(phi)
    assert input_size(phi) == side
    assert f"{count_parameters(network) / 1e6:.2f}" == millions
    assert f"{count_macs(network, (side, side)) / 1e9:.2f}" == giga


@pytest.mark.parametrize(
    ("name", "size", "macs"),
    [
        ("slbnet", (192, 256), 4.45e9),
        ("slbnet", (192, 256), 4.45 * 2**30),
        ("elpn-v1", (192, 256), 1.2 * 2**30),
        ("elpn-v1", (256, 256), 1.6 * 2**30),
        ("elpn-v2", (192, 256), 2.0 * 2**30),
        ("mobileposenet", (192, 256), 0.55e9),
        ("mobileposenet", (288, 384), 1.23e9),
    ],
)
def test_the_others_cost_what_is_printed_within_five_percent(name: str, size: tuple[int, int], macs: float) -> None:
    assert count_macs(NETWORKS[name](), size) == pytest.approx(macs, rel=0.05)


@pytest.mark.parametrize(("name", "parameters"), [("slbnet", 3.6e6), ("elpn-v1", 1.1e6), ("elpn-v2", 4.7e6)])
def test_the_others_have_the_printed_size_within_five_percent(name: str, parameters: float) -> None:
    assert count_parameters(NETWORKS[name]()) == pytest.approx(parameters, rel=0.05)


def test_mobileposenet_stays_small_with_its_attention() -> None:
    assert 1.5e6 < count_parameters(MobilePoseNet()) <= 1.7e6


def test_efficienthrnet_branches_are_as_wide_as_in_table_1() -> None:
    assert [branch_widths(phi) for phi in (0, -1, -2, -3, -4)] == [
        [32, 64, 128, 256],
        [26, 52, 103, 206],
        [21, 42, 83, 166],
        [17, 34, 67, 133],
        [14, 27, 54, 107],
    ]


# What official checkpoints need


def fingerprint(network: nn.Module) -> str:
    """Of the names and shapes of everything in a network's checkpoint, in the names' order."""
    entries = sorted((name, list(value.shape)) for name, value in network.state_dict().items())
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", OFFICIAL)
def test_parameters_are_named_and_shaped_as_in_the_official_release(name: str) -> None:
    assert fingerprint(NETWORKS[name]()) == OFFICIAL[name]


# Shapes


@pytest.mark.parametrize("keypoints", [17, 16])
@pytest.mark.parametrize("name", TOP_DOWN)
def test_a_top_down_network_predicts_heatmaps_at_a_quarter(name: str, keypoints: int) -> None:
    network = NETWORKS[name](keypoints=keypoints).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 128, 96)).shape == (2, keypoints, 32, 24)


@pytest.mark.parametrize("keypoints", [17, 16])
@pytest.mark.parametrize("name", BOTTOM_UP)
def test_a_bottom_up_network_adds_tags_and_heatmaps_at_a_half(name: str, keypoints: int) -> None:
    network = NETWORKS[name](keypoints=keypoints).eval()
    with torch.no_grad():
        quarter, half = network(torch.zeros(1, 3, 64, 96))
    assert quarter.shape == (1, 2 * keypoints, 16, 24)
    assert half.shape == (1, keypoints, 32, 48)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", ["lpn-50", "mobileposenet", "slbnet", "elpn-v1", "efficienthrnet-h-4"])
def test_no_batch_size_is_baked_into_a_traced_network(name: str) -> None:
    network = NETWORKS[name]().eval()
    randomise_norms(network)
    pictures = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        traced = torch.jit.trace(network, pictures[:1])  # type: ignore[no-untyped-call]
        torch.testing.assert_close(traced(pictures), network(pictures), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["lpn-50", "mobileposenet", "slbnet", "elpn-v1", "efficienthrnet-h-4"])
def test_every_parameter_learns(name: str) -> None:
    network = NETWORKS[name]().train()
    for module in network.modules():
        if isinstance(module, GlobalContext):
            for parameter in module.channel_add_conv[-1].parameters():
                nn.init.normal_(parameter)
    outputs = network(torch.randn(2, 3, 64, 64))
    sum(output.square().sum() for output in (outputs if isinstance(outputs, tuple) else [outputs])).backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


# Blocks


@pytest.mark.parametrize(("channels_in", "channels_out"), [(512, 256), (256, 256)])
def test_grouped_transposed_conv_equals_torch(channels_in: int, channels_out: int) -> None:
    layer = GroupedTransposedConv(channels_in, channels_out)
    x = torch.randn(2, channels_in, 8, 6)
    expected = F.conv_transpose2d(x, layer.weight, stride=2, padding=1, groups=channels_out)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("channels_in", "channels_out"), [(16, 8), (8, 8)])
def test_grouped_transposed_conv_learns_like_torch(channels_in: int, channels_out: int) -> None:
    layer = GroupedTransposedConv(channels_in, channels_out).double().train()
    x = torch.randn(2, channels_in, 5, 3, dtype=torch.float64, requires_grad=True)
    expected = F.conv_transpose2d(x, layer.weight, stride=2, padding=1, groups=channels_out)
    gradient = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (x, layer.weight), gradient)
    torch.testing.assert_close(torch.autograd.grad(layer(x), (x, layer.weight), gradient), wanted)


def test_grouped_transposed_conv_refuses_widths_that_no_group_fits() -> None:
    with pytest.raises(ValueError, match=r"channels_in \(512\) must be a multiple of channels_out \(200\)"):
        GroupedTransposedConv(512, 200)


def test_global_context_equals_its_matrix_product() -> None:
    block = GlobalContext(32)
    x = torch.randn(3, 32, 6, 5)
    values = x.flatten(2)
    attention = torch.softmax(block.conv_mask(x).flatten(2), dim=2)
    context = torch.matmul(values, attention.transpose(1, 2)).unsqueeze(3)
    torch.testing.assert_close(block(x), x + block.channel_add_conv(context))


def test_an_untrained_global_context_adds_nothing() -> None:
    block = GlobalContext(32)
    block.start_as_identity()
    x = torch.randn(1, 32, 6, 5)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, (1, 1)), (5, 1, (2, 2)), (3, 2, (0, 1)), (5, 2, (1, 2))]
)
def test_efficienthrnet_pads_as_tensorflow_does(kernel: int, stride: int, padding: tuple[int, int]) -> None:
    depthwise = MBConv(4, 6, expansion=1, kernel=kernel, stride=stride).conv[0]
    stem = EfficientHRNet(-4).features[0]  # strided, of 3×3
    for block in (depthwise, stem) if (kernel, stride) == (3, 2) else (depthwise,):
        randomise_norms(block.eval())
        *_, conv, norm, _ = block
        assert isinstance(conv, nn.Conv2d)
        x = torch.randn(1, conv.in_channels, 16, 12)
        y = norm(F.conv2d(F.pad(x, padding * 2), conv.weight, stride=stride, groups=conv.groups))
        torch.testing.assert_close(block(x), y * torch.sigmoid(y))


def test_drop_connect_drops_whole_pictures_in_training_only() -> None:
    block = MBConv(8, 8, expansion=6, kernel=3, stride=1)
    x = torch.randn(1, 8, 6, 6).expand(64, -1, -1, -1)
    trained = block.train()(x) - x
    dropped = trained.abs().amax(dim=(1, 2, 3)) == 0
    assert 0 < dropped.sum() < 32
    torch.testing.assert_close(trained[~dropped], (block.conv(x) / 0.8)[~dropped])
    assert not torch.equal(block.eval()(x)[dropped], x[dropped])


def test_an_exchange_unit_sums_every_branch_into_every_resolution() -> None:
    class Keep(nn.Identity):
        def __init__(self, channels: int) -> None:
            super().__init__()

    unit = HighResolutionModule([4, 8, 16], Keep).eval()
    maps = [torch.randn(1, 4, 16, 16), torch.randn(1, 8, 8, 8), torch.randn(1, 16, 4, 4)]
    fused = unit(maps)
    assert [x.shape for x in fused] == [x.shape for x in maps]

    down = unit.get_submodule("fuse_layers.1.0")
    conv, norm, _ = unit.get_submodule("fuse_layers.1.2").children()
    up = F.interpolate(norm(conv(maps[2])), scale_factor=2, mode="nearest")
    torch.testing.assert_close(fused[1], torch.relu(down(maps[0]) + maps[1] + up))
    assert [x.shape for x in HighResolutionModule([4, 8, 16], Keep, outputs=1)(maps)] == [maps[0].shape]


# Counting


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), 3 * 8 * 9 * 16 * 12),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3), 6 * 9 * 32 * 24),
        (nn.ConvTranspose2d(3, 8, 4, stride=2, padding=1), 3 * 8 * 16 * 32 * 24),
        (GroupedTransposedConv(3, 3), 3 * 16 * 32 * 24),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)), 15),
        (nn.BatchNorm2d(3), 0),
    ],
    ids=["conv", "grouped conv", "transposed conv", "grouped transposed conv", "linear", "norm"],
)
def test_macs_of_one_layer(layer: nn.Module, macs: int) -> None:
    assert count_macs(layer, (24, 32)) == macs


def test_counting_leaves_the_network_alone() -> None:
    network = LPN(50).train()
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    count_macs(network, (192, 256))
    assert network.training
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())

"""The form in which a network goes to TFLite computes what the network computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from converters.catalogue import DESIGNS
from converters.channel_order import blocked
from converters.networks.blocks import GlobalContext, GroupedTransposedConv
from converters.networks.person_detector import EdgeMaxPool
from converters.networks.slbnet import PyramidPooling
from converters.onnx_nodes import depth_to_space
from converters.tflite_graph import REPLACEMENTS, tflite_form
from converters.tflite_layers import Context, IntegerPReLU, PhaseUpsample, Pyramid, attention_lost
from converters.training.loop import MEAN, Normalised
from tests.test_conversion import with_statistics


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("channels_in", [24, 48], ids=["depthwise", "two inputs an output"])
def test_a_grouped_transposed_convolution_with_its_batchnorm_and_relu(channels_in: int) -> None:
    layer, norm = GroupedTransposedConv(channels_in, 24), nn.BatchNorm2d(24)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    with_statistics(norm)
    x = torch.randn(1, channels_in, 5, 7)
    plain = nn.functional.conv_transpose2d(x, layer.weight, stride=2, padding=1, groups=24)
    close(PhaseUpsample(layer, norm)(x[:, blocked(layer)]), torch.relu(norm(plain)))


def test_depth_to_space_has_the_phases_outermost() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert depth_to_space(x).tolist() == [[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]]


@pytest.mark.parametrize("sharpness", [0.1, 30.0], ids=["even attention", "attention to one pixel"])
def test_a_global_context_block(sharpness: float) -> None:
    block = GlobalContext(64)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    block.conv_mask.weight.data *= sharpness
    x = torch.randn(1, 64, 6, 8)
    close(Context(block)(x), block(x))


@pytest.mark.parametrize(("sharpness", "lost"), [(0.0, 1.0), (1e4, 0.0)], ids=["even", "to one pixel"])
def test_attention_too_even_for_integers_is_noticed(sharpness: float, lost: float) -> None:
    block = GlobalContext(16)
    block.conv_mask.weight.data *= sharpness
    assert attention_lost(nn.Sequential(block), torch.randn(2, 16, 32, 24)) == pytest.approx(lost, abs=1e-3)
    assert attention_lost(nn.Conv2d(16, 1, 1), torch.randn(2, 16, 32, 24)) == 0


def test_the_layernorms_epsilon_is_kept_where_it_matters() -> None:
    block = GlobalContext(64)
    first = block.channel_add_conv[0]
    assert isinstance(first, nn.Conv2d) and first.bias is not None
    first.weight.data *= 1e-3  # a variance of the size of the epsilon
    first.bias.data *= 1e-3
    x = torch.randn(1, 64, 6, 8)
    close(Context(block)(x), block(x))


@pytest.mark.parametrize("slopes", [(0.25, 0.0, -0.5, 1.0), (0.25, 1.5, -0.5, 3.0)], ids=["up to 1", "above 1"])
def test_a_prelu(slopes: tuple[float, ...]) -> None:
    layer = nn.PReLU(4)
    layer.weight.data = torch.tensor(slopes)
    x = torch.randn(1, 4, 6, 8)
    close(IntegerPReLU(layer)(x), layer(x))


def test_a_maximum_at_the_edge_of_negative_numbers() -> None:
    x = -torch.rand(2, 3, 8, 6)
    pool = EdgeMaxPool()
    torch.testing.assert_close(REPLACEMENTS[EdgeMaxPool](pool)(x), pool(x))


def test_pyramid_pooling() -> None:
    pyramid = with_statistics(PyramidPooling(16))
    assert isinstance(pyramid, PyramidPooling)
    x = torch.randn(1, 16, 16, 8)
    close(Pyramid(pyramid)(x), pyramid(x))


@pytest.mark.parametrize("name", DESIGNS)
def test_a_whole_network(name: str) -> None:
    network = with_statistics(DESIGNS[name].network())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pictures = torch.randint(0, 256, (1, 3, 128, 96), dtype=torch.uint8)
    mean = 255 * torch.tensor(MEAN).view(1, 3, 1, 1)
    with torch.no_grad():
        expected, got = Normalised(network)(pictures), tflite_form(network)(pictures - mean)
    for one, other in zip(*(maps if isinstance(maps, tuple) else (maps,) for maps in (expected, got)), strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 1e-4 * (one.max() - one.min())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

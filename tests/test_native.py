"""The C++ layers of training compute what PyTorch's do."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from converters.catalogue import DESIGNS
from converters.networks.blocks import DepthwiseConv, GlobalContext, GroupedTransposedConv
from converters.training import native
from converters.training.native import MAPS, functions, kernels
from converters.training.native.layers import NATIVE, use_native_layers
from converters.training.precision import mixed_precision

HAVE_KERNELS = kernels()
ROUNDING = 2**-7 if MAPS is torch.bfloat16 else 2**-16
"""bfloat16 has 8 bits, float32 has 24, of which sums of hundreds of numbers lose some."""
CHANCE = 0.01 if MAPS is torch.bfloat16 else 0.02
"""How far a whole step may be off beside what rounding does to PyTorch's, as when a number turns out just above zero
instead of below. In float32 PyTorch's step is the exact one, which leaves nothing for that."""
CHANNELS = (8, 24, 64)
ANY_CHANNELS = (*CHANNELS, 14, 27)
"""Upsampling alone needs a multiple of 8 groups."""


def a_map(*shape: int) -> Tensor:
    return torch.randn(*shape).to(MAPS).contiguous(memory_format=torch.channels_last)


def assert_same(native: Callable[..., Tensor], usual: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Outputs and the gradients of all inputs agree; ``usual`` gets the same numbers in float32."""
    mine = [x.clone().requires_grad_() for x in inputs]
    theirs = [x.float().requires_grad_() for x in inputs]
    out, expected = native(*mine), usual(*theirs)
    assert out.shape == expected.shape
    pull = torch.randn_like(expected).to(MAPS)
    out.backward(pull.to(out.dtype))
    expected.backward(pull.float())
    for a, b in [(out, expected)] + [(x.grad, y.grad) for x, y in zip(mine, theirs)]:
        assert a is not None and b is not None
        assert (a.float() - b).abs().max() <= ROUNDING * b.abs().max()


if HAVE_KERNELS:

    @pytest.mark.parametrize("channels", ANY_CHANNELS)
    @pytest.mark.parametrize("activation", functions.ACTIVATIONS)
    def test_norm_is_batch_norm_and_an_activation(channels: int, activation: type[nn.Module]) -> None:
        layer = nn.BatchNorm2d(channels)
        usual = copy.deepcopy(layer)

        def mine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
            return functions._Norm.apply(x, weight, bias, layer, functions.ACTIVATIONS[activation], None)

        def expected(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return activation()(F.batch_norm(x, usual.running_mean, usual.running_var, weight, bias, training=True))

        assert_same(mine, expected, a_map(4, channels, 6, 5) * 2 + 1, torch.randn(channels), torch.randn(channels))
        torch.testing.assert_close(layer.running_mean, usual.running_mean)
        torch.testing.assert_close(layer.running_var, usual.running_var)

    @pytest.mark.parametrize("activation", functions.ACTIVATIONS)
    def test_norm_adds_a_shortcut(activation: type[nn.Module]) -> None:
        layer = nn.BatchNorm2d(24)
        usual = copy.deepcopy(layer)
        maps = a_map(4, 24, 6, 5), a_map(4, 24, 6, 5)
        mine = lambda x, y: functions.norm(x, layer, activation, y)  # noqa: E731
        assert_same(mine, lambda x, y: activation()(usual(x) + y), *maps)

    @pytest.mark.parametrize("activation", functions.ACTIVATIONS)
    def test_gate_multiplies_each_channel(activation: type[nn.Module]) -> None:
        def usual(x: Tensor, gates: Tensor) -> Tensor:
            return activation()(x * gates)

        inputs = a_map(3, 24, 6, 5) * 3, torch.rand(3, 24, 1, 1)
        assert_same(lambda x, gates: functions.gate(x, gates, activation), usual, *inputs)

    def test_pool_is_the_mean_over_pixels() -> None:
        assert_same(functions.pool, lambda x: x.mean(dim=(2, 3), keepdim=True), a_map(3, 24, 6, 5))

    def test_context_and_join_are_a_global_context_block_beside_a_shortcut() -> None:
        block = GlobalContext(24)
        nn.init.constant_(block.conv_mask.bias, 0.7)  # the same for every pixel, so it changes nothing

        def mine(x: Tensor, weight: Tensor, shortcut: Tensor) -> Tensor:
            return functions.join(x, block.channel_add_conv(functions.context(x, weight)), shortcut)

        def usual(x: Tensor, weight: Tensor, shortcut: Tensor) -> Tensor:
            block.conv_mask.weight = nn.Parameter(weight)
            mask = torch.softmax((x * weight).sum(dim=1, keepdim=True).flatten(2), dim=2).view(3, 1, 6, 5)
            return torch.relu(x + block.channel_add_conv((x * mask).sum(dim=(2, 3), keepdim=True)) + shortcut)

        assert_same(mine, usual, a_map(3, 24, 6, 5), torch.randn(1, 24, 1, 1) * 0.3, a_map(3, 24, 6, 5))

    @pytest.mark.parametrize("channels", ANY_CHANNELS)
    @pytest.mark.parametrize("kernel", (3, 5))
    @pytest.mark.parametrize("stride", (1, 2))
    @pytest.mark.parametrize("size", [(6, 5), (7, 8), (1, 2)])
    def test_depthwise_convolution(channels: int, kernel: int, stride: int, size: tuple[int, int]) -> None:
        def usual(x: Tensor, weight: Tensor) -> Tensor:
            return F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=channels)

        weight = torch.randn(channels, 1, kernel, kernel)
        assert_same(lambda x, w: functions.depthwise(x, w, stride), usual, a_map(3, channels, *size), weight)

    @pytest.mark.parametrize("channels", ANY_CHANNELS)
    @pytest.mark.parametrize("kernel", (3, 5))
    @pytest.mark.parametrize("size", [(6, 4), (8, 2)])
    def test_depthwise_convolution_with_less_padding_before(channels: int, kernel: int, size: tuple[int, int]) -> None:
        layer = DepthwiseConv(channels, kernel, stride=2, ahead=1)

        def usual(x: Tensor, weight: Tensor) -> Tensor:
            return functional_call(layer, {"weight": weight}, x)

        weight = torch.randn(channels, 1, kernel, kernel)
        assert_same(lambda x, w: functions.depthwise(x, w, 2, ahead=1), usual, a_map(3, channels, *size), weight)

    @pytest.mark.parametrize("groups", CHANNELS)
    @pytest.mark.parametrize("inputs", (1, 2))
    def test_upsampling(groups: int, inputs: int) -> None:
        def usual(x: Tensor, weight: Tensor) -> Tensor:
            return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=groups)

        maps = a_map(3, groups * inputs, 5, 4), torch.randn(groups * inputs, 1, 4, 4)
        assert_same(lambda x, w: functions.upsample(x, w, groups), usual, *maps)

    def test_threads_share_the_work() -> None:
        def step() -> list[Tensor]:
            torch.manual_seed(0)
            x, weight = a_map(3, 24, 6, 5).requires_grad_(), torch.randn(24, 1, 3, 3, requires_grad=True)
            out = functions.norm(functions.depthwise(x, weight, 1), nn.BatchNorm2d(24), nn.ReLU)
            out.sum().backward()
            return [out, x.grad, weight.grad]

        threads, results = torch.get_num_threads(), []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(step())
        torch.set_num_threads(threads)
        torch.testing.assert_close(*results)

    def test_a_map_that_does_not_fit_is_refused() -> None:
        other = torch.float32 if MAPS is torch.bfloat16 else torch.bfloat16
        wanted = f"{str(MAPS).removeprefix('torch.')} map, channels last"
        with pytest.raises(RuntimeError, match=wanted):
            torch.ops.mobilepose.pool_forward(a_map(1, 8, 4, 4).to(other))
        with pytest.raises(RuntimeError, match=wanted):
            torch.ops.mobilepose.pool_forward(torch.zeros(1, 8, 4, 4, dtype=MAPS))
        with pytest.raises(RuntimeError, match="multiple of 8 groups"):
            torch.ops.mobilepose.upsample_forward(a_map(1, 12, 4, 4), torch.zeros(12, 1, 4, 4), 12)


@pytest.mark.parametrize("name", ["lpn-50", "mobileposenet-256x192", "elpn-v1", "slbnet", "efficienthrnet-h-4"])
def test_a_network_learns_the_same_with_native_layers(name: str) -> None:
    """Also where the machine has none, and the network stays as it is."""
    torch.manual_seed(0)
    usual = DESIGNS[name].network()
    native = copy.deepcopy(usual).to(memory_format=torch.channels_last)
    use_native_layers(native)
    assert any(type(layer) in NATIVE.values() for layer in native.modules()) == HAVE_KERNELS
    assert [key for key, _ in native.named_parameters()] == [key for key, _ in usual.named_parameters()]
    assert list(native.state_dict()) == list(usual.state_dict())

    x = torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(native.eval()(x), usual.eval()(x))
    exact = _step(copy.deepcopy(usual).train(), x, nullcontext())
    mine, theirs = (_step(network.train(), x, mixed_precision(x.device)) for network in (native, usual))
    for name, value in exact.items():  # bfloat16 is coarse, and a random network amplifies it; PyTorch's is no finer
        assert _difference(mine[name], value) <= 1.25 * _difference(theirs[name], value) + CHANCE, name


def _step(network: nn.Module, x: Tensor, precision: AbstractContextManager[object]) -> dict[str, Tensor]:
    """What a training step computes: heatmaps, all gradients, all running statistics."""
    torch.manual_seed(1)  # some layers drop a part of what they see
    with precision:
        outputs = network(x)
    heatmaps = outputs if isinstance(outputs, Tensor) else torch.cat([output.flatten() for output in outputs])
    heatmaps.float().square().sum().backward()
    gradients = [p.grad for name, p in network.named_parameters() if not name.endswith("conv_mask.bias")]
    statistics = [value for name, value in network.state_dict().items() if name.endswith(("_mean", "_var"))]
    flat = {"gradients": gradients, "statistics": statistics}
    return {"heatmaps": heatmaps} | {name: torch.cat([v.flatten() for v in values]) for name, values in flat.items()}


def _difference(a: Tensor, b: Tensor) -> float:
    """Root mean square of the difference over that of ``b``."""
    return float((a.float() - b.float()).norm().detach() / b.float().norm().detach())


def test_layers_that_are_alike_have_one_native_class() -> None:
    assert not any(issubclass(a, b) for a in NATIVE for b in NATIVE if a is not b), "the order would matter"
    assert DepthwiseConv in NATIVE and GroupedTransposedConv in NATIVE


def test_a_machine_that_cannot_have_the_layers_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "MAPS", torch.bfloat16)
    monkeypatch.setattr(native, "processor_features", lambda: {"avx2", "avx512bw"})
    assert not kernels.__wrapped__()
    assert "this processor has no avx512_bf16, avx512dq, avx512vl" in caplog.text


def test_a_missing_or_failing_compiler_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(native, "processor_features", lambda: native.NEEDED[native.MAPS])
    monkeypatch.setattr(native, "LIBRARIES", tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not kernels.__wrapped__()
    assert "there is no C++ compiler 'no-such-compiler'; install g++" in caplog.text
    monkeypatch.setenv("CXX", "false")
    assert not kernels.__wrapped__()
    assert "false does not compile them" in caplog.text
    assert not list(tmp_path.iterdir())

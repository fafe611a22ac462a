"""What is exported computes what was trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from converters.networks.lpn import LPN
from converters.networks.mobileposenet import MobilePoseNet
from converters.networks.person_detector import PersonDetector
from converters.quantization import quantize
from converters.to_openvino import PictureInput, convert
from mobilepose_sdk.runtimes.openvino import BUCKETS, import_openvino

NETWORKS = {"lpn-50": LPN, "mobileposenet": MobilePoseNet, "person-detector": PersonDetector}
OUTPUTS = {PersonDetector: ("fine", "middle", "coarse")}
SIZE = (64, 96)


def with_statistics(network: nn.Module) -> nn.Module:
    """Random weights whose BatchNorms are not the identity."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator) * 0.1
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
    return network.eval()


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE[1], SIZE[0], 3), dtype=np.uint8)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_ir_equals_torch_in_every_bucket(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    network = with_statistics(make())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about shapes that are constant by design
        model = convert(network, SIZE, OUTPUTS.get(type(network), ("maps",)))
    core = import_openvino().Core()
    with torch.no_grad():
        expected = PictureInput(network)(torch.from_numpy(pictures(BUCKETS[-1])))
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert [output.any_name for output in model.outputs] == list(OUTPUTS.get(type(network), ("maps",)))
    for bucket in BUCKETS:
        model.reshape([bucket, SIZE[1], SIZE[0], 3])
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        got = compiled(pictures(BUCKETS[-1])[:bucket])
        for index, maps in enumerate(output.numpy() for output in expected):
            assert np.abs(got[index] - maps[:bucket]).max() <= 1e-3 * np.ptp(maps)


def integer_convolutions(model: openvino.Model) -> list[bool]:
    """Of each convolution, the first one first, whether it works on integers."""
    kinds = ("Convolution", "GroupConvolution")
    weights = [op.input_value(1).get_node() for op in model.get_ordered_ops() if op.get_type_name() in kinds]
    return [node.get_type_name() == "Multiply" for node in weights]  # scales times integers


def test_quantized_model_stays_close_and_has_integer_layers() -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        floating = convert(with_statistics(MobilePoseNet()), SIZE, ("maps",))
        quantized = quantize(floating, [picture[None] for picture in pictures(8)])
        partly = quantize(floating, [picture[None] for picture in pictures(8)], float_first=3)
    assert sum(op.get_type_name() == "FakeQuantize" for op in quantized.get_ops()) > 20
    assert integer_convolutions(quantized)[:4] == [True] * 4
    assert integer_convolutions(partly)[:4] == [False, False, False, True]
    core = import_openvino().Core()
    outputs = [core.compile_model(model, "CPU")(pictures(1))[0] for model in (floating, quantized)]
    assert np.corrcoef(outputs[0].ravel(), outputs[1].ravel())[0, 1] > 0.9

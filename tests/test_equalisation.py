"""Evening out a network's channels leaves what it computes."""

from __future__ import annotations

import torch

from converters.equalisation import equalised
from converters.networks.person_detector import PersonDetector


def test_an_equalised_detector_computes_the_same_with_more_even_channels() -> None:
    torch.manual_seed(0)
    network = PersonDetector().eval()
    with torch.no_grad():
        network.stem[0].weight *= torch.logspace(-1, 1, 32).view(-1, 1, 1, 1)
    pictures = torch.randn(2, 3, 64, 96)
    even = equalised(network, pictures)

    def spread(detector: PersonDetector) -> float:
        peaks = detector.stem(pictures).abs().amax(dim=(0, 2, 3))
        return float(peaks.max() / peaks.min())

    with torch.no_grad():
        assert spread(even) < spread(network) ** 0.6
        for got, expected in zip(even(pictures), network(pictures), strict=True):
            assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert not torch.equal(even.towers[0][0].weight, network.towers[0][0].weight)

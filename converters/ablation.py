"""``python -m converters ablate``: which decoder, β, blur, padding and flip test suit a model (LPN's Table 5), or which
grouping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from converters.training.validation import BottomUpValidation, PoseValidation
from mobilepose_sdk.decoding.heatmaps import decode
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.pipelines.bottom_up import BottomUp
from mobilepose_sdk.pipelines.top_down import flip_tested
from mobilepose_sdk.preprocessing import as_channels
from mobilepose_sdk.runtimes import Runtime, load
from mobilepose_sdk.skeleton import COCO_17

Array = NDArray[Any]
BETAS = (40.0, 80.0, 120.0, 160.0, 200.0)
BLURS = (1.0, 1.5, 2.0)
PADDINGS = (1.0, 1.05, 1.1, 1.25, 1.4)
DECODERS: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "quarter offset": partial(decode, method="quarter-offset"),
    **{f"quarter offset, blur σ {blur:g}": partial(decode, method="quarter-offset", blur=blur) for blur in BLURS},
    **{f"soft-argmax, β {beta:.0f}": partial(decode, beta=beta) for beta in BETAS},
    **{f"soft-argmax, β 160, blur σ {blur:g}": partial(decode, beta=160.0, blur=blur) for blur in BLURS},
}


GROUPINGS: dict[str, dict[str, Any]] = {
    "as packed": {},
    **{f"detection threshold {value:g}": {"detection_threshold": value} for value in (0.05, 0.2, 0.3)},
    **{f"tag threshold {value:g}": {"tag_threshold": value} for value in (0.5, 2.0)},
    "no quarter pixel": {"adjust": False},
    "missing keypoints left out": {"refine": False},
}
LOOKS: dict[str, dict[str, Any]] = {
    "flip test": {"flip_test": True},
    "a third larger": {"scales": (4 / 3,)},
    "both sizes": {"scales": (1, 4 / 3)},
}


def ablate(card: ModelCard, data: Path) -> Iterator[tuple[str, float, bool, dict[str, float]]]:
    """PCK@0.2 and AP on ``dev.json``, given boxes, of a packaged model's first precision, setting by setting.

    All decoders at the card's padding, two of them at others.

    Args:
        card: a trained top-down model.
        data: folder with ``dev.json`` and ``images/``.

    Yields:
        decoder, padding, whether flip-tested, and the figures.
    """
    model = _first_file(card)
    validation = PoseValidation(data)

    def pictures(crops: torch.Tensor) -> Array:
        return np.ascontiguousarray(as_channels(crops.numpy().transpose(0, 2, 3, 1), card.color))

    def plain(crops: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.array(model(pictures(crops))[0]))

    def mirrored_too(crops: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(flip_tested(model, pictures(crops), card.stride, COCO_17))

    for padding in sorted({*PADDINGS, card.padding}):
        matrices, maps = validation.heatmaps(plain, card.input_size, padding)
        for name, decoder in DECODERS.items():
            if padding == card.padding or name in ("soft-argmax, β 160", "soft-argmax, β 160, blur σ 2"):
                yield name, padding, False, validation.figures(matrices, *decoder(maps))
    matrices, maps = validation.heatmaps(mirrored_too, card.input_size, card.padding)
    for name in ("quarter offset", "soft-argmax, β 160"):
        yield name, card.padding, True, validation.figures(matrices, *DECODERS[name](maps))


def ablate_grouping(card: ModelCard, data: Path) -> Iterator[tuple[str, float]]:
    """AP on the COCO part of ``dev.json`` of a bottom-up model's first precision, one setting changed at a time.

    Args:
        card: a trained bottom-up model.
        data: folder with ``dev.json`` and ``images/``.

    Yields:
        the setting, and AP.
    """
    model = _first_file(card)
    validation = BottomUpValidation(data)
    for name in (*GROUPINGS, *LOOKS):
        grouping = card.decoder | GROUPINGS.get(name, {})
        yield name, validation.average_precision(BottomUp(card, model, COCO_17, grouping, **LOOKS.get(name, {})))


def _first_file(card: ModelCard) -> Runtime:
    """The card's first precision of its first runtime, loaded."""
    (runtime, precisions) = next(iter(card.precisions.items()))
    return load(card, runtime, precisions[0], 0, "CPU")

"""``prebuilt/<model>/``: weights to model files to measured card. Every file there comes out of this module."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from converters import quantization
from converters.catalogue import Design
from converters.complexity import count_macs, count_parameters
from converters.curves import draw_curve
from converters.data import measured_sources
from converters.model_card import markdown
from converters.model_files import DEFAULT_REQUEST, Request, quantization_facts, write_files
from converters.weights import PREBUILT, card_of_same_weights, load_weights, read_facts, save_weights
from mobilepose_sdk.coco_files import ALL
from mobilepose_sdk.detection import PersonDetector
from mobilepose_sdk.detection_metrics import DetectionCurve
from mobilepose_sdk.errors import InvalidInputError
from mobilepose_sdk.estimator import PoseEstimator
from mobilepose_sdk.evaluation import Boxes, evaluate_detector, evaluate_poses
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.preprocessing import PADDING
from mobilepose_sdk.runtimes import RUNTIMES

log = logging.getLogger(__name__)
LICENCE = "Apache-2.0"
REPORTED_RIGHTLY = 2 / 3
"""Least precision at a detector's default threshold: somebody who is not there is worse than somebody missed."""


def build(
    design: Design,
    data: Path | None,
    folder: Path | None = None,
    request: Request = DEFAULT_REQUEST,
) -> ModelCard:
    """Make a model's files and its card from its ``weights.safetensors``, and measure them.

    A network without that file gets a card that says so.

    Args:
        design: which model.
        data: folder with ``train.json`` (calibration) and ``dev.json`` (the card's figures); an untrained network
            needs none.
        folder: the model's folder; ``prebuilt/<name>`` when omitted.
        request: which files to make.

    Raises:
        InvalidInputError: there are weights, but no data.
    """
    folder = folder or PREBUILT / design.name
    if not (folder / "weights.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        card = describe(design, folder)
        write_card(card)
        return card
    if data is None:
        raise InvalidInputError(
            f"{design.name} is trained: building it needs --data FOLDER to calibrate and measure it"
        )
    training = read_facts(folder)
    if "curve" in training:
        draw_curve(training, folder / "curve.png")
    inputs = quantization.calibration_inputs(data, design)
    return measure(package(design, load_weights(design, folder), folder, request, inputs, training), data)


def describe(design: Design, folder: Path) -> ModelCard:
    """The card of a network that has no files yet: listed among the models as not trained."""
    network = design.network()
    return ModelCard(
        name=design.name,
        kind=design.kind,
        approach=design.approach,
        summary=design.summary,
        paper=design.paper,
        licence="",
        input_size=design.input_size,
        color=design.color,
        stride=design.stride,
        outputs=[],
        skeleton="coco-17" if design.kind == "pose" else "",
        decoder=dict(design.decoder),
        padding=design.padding,
        min_score=0.0 if design.kind == "pose" else 0.3,
        parameters=count_parameters(network),
        macs=count_macs(network, design.input_size),
        folder=folder,
    )


def package(
    design: Design,
    network: nn.Module,
    folder: Path,
    request: Request,
    inputs: list[NDArray[np.uint8]],
    training: dict[str, Any],
) -> ModelCard:
    """Write a network's files and an unmeasured card.

    Args:
        design: which model.
        network: with its weights.
        folder: where to.
        request: which files.
        inputs: calibration inputs for INT8; see :func:`converters.quantization.quantize`.
        training: what the weights were made from.
    """
    if "checkpoint" in training:  # others' networks know the papers' crops alone
        design = replace(design, padding=PADDING)
    before = card_of_same_weights(folder, training)
    made = write_files(design, network, folder, request, inputs)
    quantized = quantization_facts(made, len(inputs), design.float_first)
    files = {**(before.files if before else {}), **made}
    card = replace(
        describe(design, folder),
        licence=training.get("licence", LICENCE),
        outputs=_outputs(design, network),
        training=training,
        quantization={**(before.quantization if before else {}), **quantized},
        files={runtime: files[runtime] for runtime in RUNTIMES if runtime in files},
    )
    write_card(card)
    return card


def _outputs(design: Design, network: nn.Module) -> list[dict[str, Any]]:
    """Name and shape, for one picture, of each output."""
    width, height = design.input_size
    with torch.no_grad():
        maps = network.eval()(torch.zeros(1, 3, height, width))
    maps = maps if isinstance(maps, tuple) else (maps,)
    return [{"name": name, "shape": list(output.shape)} for name, output in zip(design.outputs, maps)]


def import_checkpoint(
    design: Design,
    checkpoint: Path,
    folder: Path,
    request: Request,
    calibration: Path | None,
) -> ModelCard:
    """A model folder from an official checkpoint; ``PoseEstimator(folder)`` opens it.

    Args:
        design: which network the checkpoint is of.
        checkpoint: see :func:`converters.checkpoints.load_checkpoint`.
        folder: where to.
        request: which files.
        calibration: folder of pictures with people, for INT8.

    Raises:
        CheckpointError: the checkpoint does not fit.
        InvalidInputError: INT8 without calibration pictures, or with nobody in them; or ``folder`` is a file.
        MissingDependencyError: there is no environment that makes TFLite files; nothing is written.
    """
    network = design.load(design.network(), checkpoint)
    inputs: list[NDArray[np.uint8]] = []
    if "int8" in request.precisions:
        if calibration is None:
            raise InvalidInputError("INT8 needs --calibration FOLDER: a folder of your own pictures of people")
        inputs = quantization.inputs_from_pictures(calibration, design)
        log.info("calibrating with %d inputs from %s", len(inputs), calibration)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    origin = {"checkpoint": checkpoint.name, "sha256": digest, **design.checkpoint_facts}
    if folder.exists() and not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder; --out names the model folder to write")
    card = package(design, network, folder, request, inputs, origin)
    save_weights(network, folder, origin)  # last: what fails leaves an earlier model's weights beside its card
    return card


def measure(card: ModelCard, data: Path) -> ModelCard:
    """Measure every file of a card on ``dev.json`` and write the figures, and a detector's threshold, into it."""
    accuracy: dict[str, dict[str, float]] = {}
    min_score = card.min_score
    for runtime, precision in ((r, p) for r, listed in card.precisions.items() for p in listed):
        if card.kind == "pose":
            with PoseEstimator(card.folder, runtime=runtime, precision=precision, detector=None) as estimator:
                figures = pose_figures(estimator, data)
        else:
            detector = PersonDetector(card.folder, min_score=0.03, runtime=runtime, precision=precision)
            curve = evaluate_detector(detector, data / "dev.json", data / "images")
            # One threshold for all files: that of the first, which is the recommended one.
            min_score = min_score if accuracy else round(_threshold(curve), 2)
            reached = curve.at(min_score)
            figures = {"AP50": curve.average_precision, "precision": reached[0], "recall": reached[1]}
        accuracy[f"{runtime}-{precision}"] = {name: round(value, 4) for name, value in figures.items()}
        log.info("%s %s %s: %s", card.name, runtime, precision, accuracy[f"{runtime}-{precision}"])
    measured = replace(card, accuracy=accuracy, min_score=min_score)
    write_card(measured)
    return measured


def pose_figures(estimator: PoseEstimator, data: Path, boxes: Boxes = "given") -> dict[str, float]:
    """PCK@0.2 and AP, each on its part of ``dev.json``."""
    by_source = evaluate_poses(estimator, data / "dev.json", data / "images", boxes=boxes).figures
    pck_source, ap_source = measured_sources(by_source)
    return {"PCK@0.2": by_source[pck_source or ALL]["PCK@0.2"], "AP": by_source[ap_source or ALL]["AP"]}


def _threshold(curve: DetectionCurve) -> float:
    """A detector's default: the best F1's, or a higher one if there too many would not be people."""
    return max(curve.best_threshold(), curve.threshold_for(REPORTED_RIGHTLY))


def write_card(card: ModelCard) -> None:
    """``card.json`` for programs, ``README.md`` for people."""
    entries = asdict(card)
    del entries["folder"]
    (card.folder / "card.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (card.folder / "README.md").write_text(markdown(card), encoding="utf-8")

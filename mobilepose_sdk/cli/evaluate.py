"""``mobilepose evaluate``: accuracy on a COCO keypoint file."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any, Literal

from mobilepose_sdk.cli.common import (
    ESTIMATOR_OPTIONS,
    EXIT_CODES,
    OK,
    Progress,
    add_estimator_options,
    check_writable,
    open_estimator,
    say,
    table,
    write_json,
)

WHAT_IS_SHOWN = """
AP and AR are pycocotools' own, with M and L for medium and large people. PCK@0.2 is the share of the 12 body keypoints
that lie within 0.2 of the torso; PCKh@0.5, where people have a bbox_head, of all that lie within half the head segment.
A keypoint's OKS is the mean of its part of the OKS. A person whom no pose's box overlaps by half is all wrong.
"""
LONGEST_NAME = 27
"""Letters of a source's name, so that a table fits into 100 columns."""


def add_to(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate", help="measure accuracy on a COCO keypoint file", epilog=f"{WHAT_IS_SHOWN} {EXIT_CODES}"
    )
    evaluate.add_argument("annotations", type=Path, help="COCO keypoint JSON")
    evaluate.add_argument("--images", type=Path, help="folder of the pictures; images/ beside the file when omitted")
    evaluate.add_argument(
        "--boxes",
        choices=("given", "detected"),
        help="whose boxes (default: given; a bottom-up model takes none and always finds people by itself)",
    )
    files = evaluate.add_mutually_exclusive_group()
    files.add_argument("--results", type=Path, metavar="FILE", help="also write the poses as COCO results JSON")
    files.add_argument(
        "--from-results", type=Path, metavar="FILE", help="run no model: measure the poses of COCO results JSON"
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON, with the keypoints of every source")
    add_estimator_options(evaluate)
    evaluate.set_defaults(run=run, wrong_usage=evaluate.error)


def run(options: argparse.Namespace) -> int:
    if options.results:
        check_writable(options.results)
    evaluation = _measure_results(options) if options.from_results else _measure_model(options)
    if evaluation.unknown:
        say(f"the model does not have {', '.join(evaluation.unknown)}: counted as wrong")
    try:  # a reader who has seen enough, as `head` has, must not cost the poses
        (_print_json if options.json else _print)(evaluation)
    finally:
        if options.results:
            write_json(options.results, evaluation.results)
    return OK


def _measure_results(options: argparse.Namespace) -> Any:
    from mobilepose_sdk.evaluation import evaluate_results

    unused = [name for name in ("images", "boxes", *ESTIMATOR_OPTIONS) if getattr(options, name) is not None]
    if unused:
        names = ", ".join("--" + name.replace("_", "-") for name in unused)
        options.wrong_usage(f"--from-results runs no model and reads no pictures: leave out {names}")
    return evaluate_results(options.from_results, options.annotations)


def _measure_model(options: argparse.Namespace) -> Any:
    from mobilepose_sdk.evaluation import evaluate_poses

    images = options.images or options.annotations.parent / "images"
    boxes: Literal["given", "detected"] = options.boxes or "given"
    if boxes == "given":
        if options.detector is not None:
            options.wrong_usage("given boxes need no detector: leave out --detector, or say --boxes detected")
        options.detector = "none"
    with open_estimator(options) as estimator, Progress("pictures") as progress:
        if boxes == "given" and estimator.card.approach == "bottom-up":
            say(f"{estimator.card.name} is a bottom-up model: it takes no boxes and finds people in whole pictures")
        return evaluate_poses(estimator, options.annotations, images, boxes=boxes, progress=progress)


def _print_json(evaluation: Any) -> None:
    content = {
        source: {**figures, "keypoints": evaluation.keypoints[source]} for source, figures in evaluation.figures.items()
    }
    print(json.dumps(_without_nan(content), indent=2))


def _print(evaluation: Any) -> None:
    """By source the ten figures of COCO, and PCK with how many were counted; then every keypoint, over all sources."""
    from mobilepose_sdk.coco_files import ALL
    from mobilepose_sdk.metrics import COCO_STATS

    by_source = evaluation.figures
    shares = [name for name in by_source[ALL] if name.startswith("PCK")]
    short = [name.replace("_medium", " M").replace("_large", " L") for name in COCO_STATS]
    rows = [(_short(source), *(_share(figures[name]) for name in COCO_STATS)) for source, figures in by_source.items()]
    print(table(("source", *short), rows), end="\n\n")
    rows = [
        (_short(source), *(_share(figures[name]) for name in shares), str(figures["people"]), str(figures["pictures"]))
        for source, figures in by_source.items()
    ]
    print(table(("source", *shares, "people", "pictures"), rows), end="\n\n")
    rows = [
        (keypoint, *(_share(measured[name]) for name in shares), _share(measured["OKS"]), str(measured["labelled"]))
        for keypoint, measured in evaluation.keypoints[ALL].items()
    ]
    print(table(("keypoint", *shares, "OKS", "labelled"), rows))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _share(value: float) -> str:
    """Undefined is NaN, or -1 for pycocotools."""
    return f"{value:.3f}" if value >= 0 else "–"


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    return None if isinstance(content, float) and not math.isfinite(content) else content

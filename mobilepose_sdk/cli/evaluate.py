"""``mobilepose evaluate``: accuracy on a COCO keypoint file."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from mobilepose_sdk.cli.common import EXIT_CODES, OK, Progress, add_estimator_options, open_estimator, table, write_json


def add_to(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="measure accuracy on a COCO keypoint file", epilog=EXIT_CODES)
    evaluate.add_argument("annotations", type=Path, help="COCO keypoint JSON")
    evaluate.add_argument("--images", type=Path, help="folder of the pictures; images/ beside the file when omitted")
    evaluate.add_argument(
        "--boxes", choices=("given", "detected"), default="given", help="whose boxes (default: given)"
    )
    evaluate.add_argument("--results", type=Path, metavar="FILE", help="also write the poses as COCO results JSON")
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    add_estimator_options(evaluate)
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from mobilepose_sdk.evaluation import evaluate_poses

    images = options.images or options.annotations.parent / "images"
    if options.boxes == "given":
        options.detector = "none"
    with open_estimator(options) as estimator, Progress("pictures") as progress:
        evaluation = evaluate_poses(estimator, options.annotations, images, boxes=options.boxes, progress=progress)
    if options.results:
        write_json(options.results, evaluation.results)
    if options.json:
        figures = {
            name: {key: value if math.isfinite(value) else None for key, value in group.items()}
            for name, group in evaluation.figures.items()
        }
        print(json.dumps(figures, indent=2))
        return OK
    columns = ("PCK@0.2", "AP", "AP50", "AP75", "AR", "people", "pictures")
    rows = [
        (name, *(f"{v[column]:.0f}" if column in ("people", "pictures") else f"{v[column]:.3f}" for column in columns))
        for name, v in evaluation.figures.items()
    ]
    print(table(("source", *columns), rows))
    return OK

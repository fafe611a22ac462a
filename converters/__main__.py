"""``python -m converters``: train networks and build the packaged models, from a checkout."""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mobilepose_sdk.cli.common import at_least_one

if TYPE_CHECKING:
    from converters.catalogue import Design
    from converters.model_files import Request

ALLOCATOR = ":".join(
    f"glibc.malloc.{name}"
    for name in ("hugetlb=1", "mmap_threshold=8589934592", "trim_threshold=8589934592")
)  # fmt: skip
"""Keeps freed activations in large pages instead of returning them: training is 20 to 45 % faster on two cores."""

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "pictures"

RECIPES = ("iterative", "mapd", "half-body")
"""The keys of :data:`converters.training.recipes.METHODS`, which takes seconds to import."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m converters", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a network; a run that exists is resumed")
    train.add_argument("model")
    train.add_argument("--data", type=Path, required=True, help="folder with train.json, dev.json and images/")
    train.add_argument("--minutes", type=_above_zero, default=math.inf, help="stop after this long, schedule included")
    train.add_argument("--samples", type=_above_zero, default=math.inf, help="stop after this many samples")
    train.add_argument("--run", type=Path, help="folder of the run; runs/<model> when omitted")
    train.add_argument(
        "--continue", dest="go_on", action="store_true", help="start from the packaged weights instead of random ones"
    )
    train.add_argument("--recipe", choices=RECIPES, help="a paper's training method; the usual one when omitted")
    train.add_argument(
        "--teacher",
        metavar="MODEL",
        help="what mapd learns from: a trained network's name, or the path of movenet-thunder.bin",
    )
    train.add_argument(
        "--shares",
        type=float,
        nargs=2,
        metavar=("ALPHA", "BETA"),
        help="of mapd's squared error and KL divergence to the teacher (default: the paper's 0.15 and 0.075)",
    )
    train.add_argument("--labels", type=Path, metavar="FILE", help="cleaned labels from `clean`")
    train.add_argument("--seed", type=_whole, default=0, help="of weights, order and augmentation (default: 0)")
    train.add_argument("--threads", type=at_least_one, help="CPU threads; all when omitted")
    train.set_defaults(run_command=_train)

    average = commands.add_parser("average", help="pack the mean weights of runs from one start, if it is better")
    average.add_argument("model")
    average.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of two finished runs or more")
    average.add_argument("--data", type=Path, required=True, help="folder with dev.json and images/")
    average.set_defaults(run_command=_average)

    cleaner = commands.add_parser(
        "clean", help="weigh labels against what a trained network sees, and add missing ones"
    )
    cleaner.add_argument("model", help="a trained top-down network's name, or the path of movenet-thunder.bin")
    cleaner.add_argument("--data", type=Path, required=True, help="folder with train.json and images/")
    cleaner.add_argument("--out", type=Path, required=True, help="file to write, for `train --labels`")
    cleaner.set_defaults(run_command=_clean)

    build = commands.add_parser("build", help="make prebuilt/<model> from its weights.safetensors, and measure it")
    build.add_argument("model")
    build.add_argument("--data", type=Path, help="folder with train.json, dev.json and images/; for trained networks")
    _add_runtimes(build)
    build.set_defaults(run_command=_build)

    ablation = commands.add_parser("ablate", help="compare decoders, paddings and the flip test on dev.json")
    ablation.add_argument("model", help="a trained pose model")
    ablation.add_argument("--data", type=Path, required=True, help="folder with dev.json and images/")
    ablation.set_defaults(run_command=_ablate)

    report = commands.add_parser(
        "report", help="write docs/accuracy.md from the model cards, dev.json and a latency run"
    )
    report.add_argument("--data", type=Path, required=True, help="folder with dev.json and images/")
    report.add_argument("--threads", type=at_least_one, default=2, help="CPU threads (default: 2)")
    report.set_defaults(run_command=_report)

    importer = commands.add_parser("import", help="make a model folder from an official checkpoint")
    importer.add_argument("model")
    importer.add_argument("checkpoint", type=Path, help="the release's .pth; for the detector nanodet.bin")
    importer.add_argument("--out", type=Path, required=True, help="the model folder to write")
    importer.add_argument("--precision", action="append", choices=("fp32", "fp16", "int8"), help="fp16 when omitted")
    importer.add_argument("--calibration", type=Path, help="folder of your own pictures of people, for int8")
    _add_runtimes(importer)
    importer.set_defaults(run_command=_import)

    verifier = commands.add_parser("verify", help="convert a model once more and compare it with its torch network")
    verifier.add_argument("model")
    verifier.add_argument("--data", type=Path, help="folder with train.json and images/, for crops and calibration")
    verifier.add_argument(
        "--pictures", type=Path, default=EXAMPLES, help="folder of pictures where there is no --data; the examples'"
    )
    verifier.add_argument(
        "--weights", type=Path, help="model folder with weights.safetensors; prebuilt/MODEL when omitted"
    )
    _add_runtimes(verifier, "both")
    verifier.set_defaults(run_command=_verify)

    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    from mobilepose_sdk.errors import MobilePoseError

    try:
        options.run_command(options)
    except MobilePoseError as error:
        parser.exit(3, f"{parser.prog}: {error}\n")
    return 0


def _verify(options: argparse.Namespace) -> None:
    from converters.verify import real_inputs, verify
    from mobilepose_sdk.runtimes import RUNTIMES

    design = _design(options.model)
    inputs = real_inputs(design, options.data, options.pictures)
    runtimes = tuple(options.runtime or RUNTIMES)
    result = verify(design, *inputs, options.weights, runtimes, options.tflite_python)
    print(f"{design.name}: {result}")
    if not result.passed:
        raise SystemExit(1)


def _add_runtimes(command: argparse.ArgumentParser, omitted: str = "openvino") -> None:
    command.add_argument(
        "--runtime", action="append", choices=("openvino", "tflite"), help=f"may be given twice; {omitted} when omitted"
    )
    command.add_argument(
        "--tflite-python",
        type=Path,
        metavar="PATH",
        help="Python of the environment with onnx2tf; MOBILEPOSE_TFLITE_PYTHON or .venv-tflite when omitted",
    )


def _train(options: argparse.Namespace) -> None:
    import torch

    from converters.training.command import Start, train
    from converters.training.schedule import Budget

    if options.minutes == options.samples == math.inf:
        raise SystemExit("give --minutes, --samples or both: the learning-rate schedule needs to know where it ends")
    if options.threads:
        torch.set_num_threads(options.threads)
    start = Start(
        _design(options.model),
        options.data,
        Budget(samples=options.samples, minutes=options.minutes),
        go_on=options.go_on,
        method=options.recipe,
        teacher=options.teacher,
        shares=tuple(options.shares) if options.shares else None,
        labels=options.labels,
        seed=options.seed,
    )
    print(train(start, options.run))


def _average(options: argparse.Namespace) -> None:
    from converters.training.command import average

    print(average(_design(options.model), options.data, options.runs))


def _clean(options: argparse.Namespace) -> None:
    from converters.training.command import clean

    print(clean(options.model, options.data, options.out))


def _build(options: argparse.Namespace) -> None:
    from converters.packaging import build

    card = build(_design(options.model), options.data, request=_request(options, ["int8", "fp16"]))
    print(card.folder, card.accuracy if card.trained else "not trained: a card without files")


def _ablate(options: argparse.Namespace) -> None:
    from converters.ablation import ablate, ablate_grouping
    from mobilepose_sdk.models import find_model

    card = find_model(options.model, "pose")
    if card.approach == "bottom-up":
        print(f"{'setting':30s} {'AP':>7s}")
        for name, ap in ablate_grouping(card, options.data):
            print(f"{name:30s} {ap:7.4f}")
        return
    print(f"{'decoder':30s} {'padding':>7s} {'flip':>5s} {'PCK@0.2':>8s} {'AP':>7s}")
    for name, padding, flip, figures in ablate(card, options.data):
        print(f"{name:30s} {padding:7.2f} {'yes' if flip else 'no':>5s} {figures['pck']:8.4f} {figures['ap']:7.4f}")


def _report(options: argparse.Namespace) -> None:
    from converters.report import write_report

    print(write_report(options.data, options.threads))


def _import(options: argparse.Namespace) -> None:
    from converters.packaging import import_checkpoint

    request = _request(options, options.precision or ["fp16"])
    card = import_checkpoint(_design(options.model), options.checkpoint, options.out, request, options.calibration)
    opener = "PoseEstimator" if card.kind == "pose" else "PersonDetector"
    print(f"wrote {card.folder}: {', '.join(request.precisions)}; open it with {opener}({str(card.folder)!r})")


def _request(options: argparse.Namespace, precisions: list[str]) -> Request:
    from converters.model_files import Request

    return Request(precisions, options.runtime or ["openvino"], options.tflite_python)


def _design(name: str) -> Design:
    from converters.catalogue import DESIGNS

    if name not in DESIGNS:
        raise SystemExit(f"no network {name!r}; there are: {', '.join(DESIGNS)}")
    return DESIGNS[name]


def _above_zero(text: str) -> float:
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def _with_allocator_settings() -> None:
    """glibc reads its settings at start, so the program starts itself again with them."""
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = ALLOCATOR
        os.execv(sys.executable, [sys.executable, "-m", "converters", *sys.argv[1:]])


if __name__ == "__main__":
    _with_allocator_settings()
    sys.exit(main())

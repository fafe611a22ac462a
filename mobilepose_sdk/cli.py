"""The ``mobilepose`` program."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mobilepose_sdk import __version__
from mobilepose_sdk.errors import InvalidInputError, MobilePoseError, SourceReadError

OK, SOME_FAILED, FAILED = 0, 1, 3
ANNOTATED = ".pose.jpg"
EXIT_CODES = "exit codes: 0 all done, 1 some inputs failed, 2 wrong usage, 3 nothing could be done, 130 interrupted"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal's code page may lack what a file name holds
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        code = run(options)
        sys.stdout.flush()
        return code
    except MobilePoseError as error:
        _say(f"mobilepose: {error}")
        return FAILED
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        return FAILED
    except KeyboardInterrupt:
        _say("mobilepose: interrupted")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mobilepose", description="Find people and their keypoints.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"mobilepose {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    image = commands.add_parser("image", help="find people in pictures", epilog=EXIT_CODES)
    image.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="picture, folder, glob pattern, or - for a list on stdin"
    )
    image.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder to write to")
    image.add_argument("--json", action="store_true", help="print one JSON object a picture instead of a table")
    _add_estimator_options(image)
    image.set_defaults(run=_image)

    models = commands.add_parser("models", help="list the packaged models")
    models.add_argument("--json", action="store_true", help="print JSON")
    models.set_defaults(run=_models)

    evaluate = commands.add_parser("evaluate", help="measure accuracy on a COCO keypoint file", epilog=EXIT_CODES)
    evaluate.add_argument("annotations", type=Path, help="COCO keypoint JSON")
    evaluate.add_argument("--images", type=Path, help="folder of the pictures; images/ beside the file when omitted")
    evaluate.add_argument(
        "--boxes", choices=("given", "detected"), default="given", help="whose boxes (default: given)"
    )
    evaluate.add_argument("--results", type=Path, metavar="FILE", help="also write the poses as COCO results JSON")
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    _add_estimator_options(evaluate)
    evaluate.set_defaults(run=_evaluate)
    return parser


def _add_estimator_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="pose model: a name from `mobilepose models`, or a folder")
    parser.add_argument(
        "--detector", help="person detector: a name or a folder, or 'none': every picture is one person"
    )
    parser.add_argument("--runtime", help="openvino")
    parser.add_argument("--precision", help="int8 or fp16; the model's recommended one when omitted")
    parser.add_argument("--decoder", choices=("soft-argmax", "quarter-offset"), help="the model's own when omitted")
    parser.add_argument("--flip-test", action="store_true", default=None, help="average with the mirrored crop")
    parser.add_argument("--threads", type=int, help="CPU threads; chosen automatically when omitted")


def _estimator(options: argparse.Namespace) -> Any:
    from mobilepose_sdk.estimator import PoseEstimator

    names = ("model", "detector", "runtime", "precision", "decoder", "flip_test", "threads")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if given.get("detector") == "none":
        given["detector"] = None
    return PoseEstimator(**given)


def _image(options: argparse.Namespace) -> int:
    from mobilepose_sdk.sources import expand_inputs

    inputs = [line for given in options.inputs for line in (_lines_of_stdin() if given == "-" else [given])]
    paths, problems = expand_inputs(inputs)
    paths = [path for path in paths if not _is_own_output(path, options.output)]
    failures = [str(problem) for problem in problems]
    if not inputs:
        raise InvalidInputError("no pictures were named on stdin")
    if paths:
        _make_folder(options.output)
        failures += _annotate_all(paths, options)
    for failure in failures:
        _say(f"mobilepose: {failure}")
    if not failures:
        return OK
    return SOME_FAILED if len(failures) < len(paths) + len(problems) else FAILED


def _annotate_all(paths: list[Path], options: argparse.Namespace) -> list[str]:
    """Write every picture's annotated copy and ``results.json``; returns what went wrong, a line a picture."""
    failures, entries, images, rows = [], [], [], []
    names = _output_names(paths)
    try:
        with _estimator(options) as estimator, _progress("pictures") as progress:
            for number, (path, name) in enumerate(zip(paths, names), 1):
                try:
                    result = _annotate(estimator, path, options.output / name)
                except MobilePoseError as error:
                    failures.append(str(error))
                else:
                    width, height = result.image_size
                    images.append({"id": number, "file_name": str(path), "width": width, "height": height})
                    entries += result.to_coco(number)
                    rows.append((str(path), str(len(result)), _scores(result), str(options.output / name)))
                    if options.json:
                        line = {"file": str(path), "annotated": str(options.output / name), **result.to_dict()}
                        progress.clear()
                        print(json.dumps(line), flush=True)
                progress(number, len(paths))
    finally:  # an interrupted run keeps what it found
        _write_json(options.output / "results.json", entries)
        _write_json(options.output / "images.json", images)
    if rows and not options.json:
        print(_table(("picture", "people", "scores", "annotated"), rows))
        print(f"COCO results: {options.output / 'results.json'} (image ids: {options.output / 'images.json'})")
    return failures


def _annotate(estimator: Any, path: Path, target: Path) -> Any:
    import cv2

    from mobilepose_sdk.sources import read_picture

    picture = read_picture(path)
    result = estimator(picture)
    written, encoded = cv2.imencode(target.suffix, result.plot(picture))
    if not written:
        raise InvalidInputError(f"{str(path)!r} is too large to be written as {target.suffix}: {result.image_size}")
    try:
        target.write_bytes(encoded.tobytes())  # not cv2.imwrite, which fails on some non-ASCII paths
    except OSError as error:
        raise SourceReadError(f"cannot write {str(target)!r}: {error}") from error
    return result


def _is_own_output(path: Path, output: Path) -> bool:
    """Whether an earlier run wrote this picture: it is no input when the output folder is an input as well."""
    return path.name.endswith(ANNOTATED) and path.parent.resolve() == output.resolve()


def _output_names(paths: list[Path]) -> list[str]:
    """``<stem>.pose.jpg`` a picture, numbered where stems repeat, so that no picture overwrites another's."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name, number = f"{path.stem}{ANNOTATED}", 1
        while name.lower() in taken:
            number += 1
            name = f"{path.stem}-{number}{ANNOTATED}"
        taken.add(name.lower())
        names.append(name)
    return names


def _models(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from mobilepose_sdk.models import list_models

    cards = list_models()
    if options.json:
        print(json.dumps([{**asdict(card), "folder": str(card.folder)} for card in cards], indent=2))
        return OK
    rows = []
    for card in cards:
        width, height = card.input_size
        for runtime, by_precision in card.files.items():
            for precision, files in by_precision.items():
                figures = card.accuracy.get(f"{runtime}-{precision}", {})
                rows.append(
                    (
                        card.name,
                        card.kind,
                        f"{height}×{width}",
                        f"{card.parameters / 1e6:.2f} M",
                        f"{card.macs / 1e9:.2f} G",
                        f"{runtime} {precision}",
                        f"{sum(file.bytes for file in files) / 1e6:.1f} MB",
                        "  ".join(f"{name} {value:.3f}" for name, value in figures.items()),
                    )
                )
    print(_table(("model", "kind", "input", "params", "MACs", "files", "size", "measured"), rows))
    return OK


def _evaluate(options: argparse.Namespace) -> int:
    from mobilepose_sdk.evaluation import evaluate_poses

    images = options.images or options.annotations.parent / "images"
    if options.boxes == "given":
        options.detector = "none"
    with _estimator(options) as estimator, _progress("pictures") as progress:
        evaluation = evaluate_poses(estimator, options.annotations, images, boxes=options.boxes, progress=progress)
    if options.results:
        _write_json(options.results, evaluation.results)
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
    print(_table(("source", *columns), rows))
    return OK


def _lines_of_stdin() -> list[str]:
    return [line.strip() for line in sys.stdin if line.strip()]


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"cannot make the output folder {str(path)!r}: {error}") from error


def _write_json(path: Path, content: Any) -> None:
    try:
        path.write_text(json.dumps(content), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot write {str(path)!r}: {error}") from error


def _scores(result: Any) -> str:
    shown = "  ".join(f"{score:.2f}" for score in result.scores[:5])
    return shown + (" …" if len(result) > 5 else "")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (header, *rows)]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _progress:
    """A line on the terminal's stderr that counts up; silent for few files and where stderr is not a terminal."""

    def __init__(self, unit: str) -> None:
        self.unit, self.shown = unit, False

    def __enter__(self) -> _progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def __call__(self, done: int, total: int) -> None:
        if total > 3 and sys.stderr.isatty():
            filled = done * 30 // total
            print(
                f"\r{'█' * filled}{'░' * (30 - filled)} {done}/{total} {self.unit}", end="", file=sys.stderr, flush=True
            )
            self.shown = True

    def clear(self) -> None:
        """Wipe the line, so that other output starts on a clean one."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self.shown = False


if __name__ == "__main__":
    sys.exit(main())

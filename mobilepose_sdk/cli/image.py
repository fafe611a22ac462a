"""``mobilepose image``: who is in pictures, and annotated copies of them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mobilepose_sdk.cli.common import (
    EXIT_CODES,
    FAILED,
    OK,
    SOME_FAILED,
    Progress,
    add_estimator_options,
    make_folder,
    open_estimator,
    say,
    table,
    write_bytes,
    write_json,
)
from mobilepose_sdk.errors import InvalidInputError, MobilePoseError, OutputError

ANNOTATED = ".pose.jpg"
MANY = 30
"""From so many pictures on, throughput mode saves more time than it takes to get its networks ready."""


def add_to(commands: Any) -> None:
    image = commands.add_parser("image", help="find people in pictures", epilog=EXIT_CODES)
    image.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="picture, folder, glob pattern, or - for a list on stdin"
    )
    image.add_argument("-o", "--output", type=Path, metavar="OUT", help="folder for annotated copies and COCO results")
    image.add_argument("--json", action="store_true", help="print one JSON object a picture instead of a table")
    add_estimator_options(image)
    image.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from mobilepose_sdk.sources import expand_inputs

    inputs = [line for given in options.inputs for line in (_lines_of_stdin() if given == "-" else [given])]
    if not inputs:
        raise InvalidInputError("no pictures were named on stdin")
    named, problems = expand_inputs(inputs)
    paths = [path for path in named if options.output is None or not _is_own_output(path, options.output)]
    if named and not paths and not problems:
        raise InvalidInputError(f"nothing to do: an earlier run wrote these pictures to {str(options.output)!r}")
    done, failures = 0, [str(problem) for problem in problems]
    if paths:
        if options.output is not None:
            make_folder(options.output)
        done = _find_all(paths, options, failures)
    for failure in failures:
        say(f"mobilepose: {failure}")
    return (SOME_FAILED if done else FAILED) if failures else OK


def _find_all(paths: list[Path], options: argparse.Namespace, failures: list[str]) -> int:
    """Say who is in every picture and, where there is an output folder, write annotated copies and ``results.json``.

    Args:
        paths: the pictures.
        options: the program's.
        failures: what goes wrong is added, a line a picture.

    Returns:
        how many were done.
    """
    from mobilepose_sdk.throughput import GROUP, in_groups

    entries, images, rows = [], [], []
    targets = [options.output and options.output / name for name in _output_names(paths)]
    options.mode = "throughput" if len(paths) >= MANY else None
    with open_estimator(options) as estimator, Progress("pictures") as progress:
        outcomes = in_groups(
            lambda group: _find(estimator, group),
            zip(paths, targets),
            workers=estimator.workers,
            size=1 if estimator.workers == 1 else GROUP,
        )
        try:
            for number, (path, target, result) in enumerate(zip(paths, targets, outcomes), 1):
                if isinstance(result, MobilePoseError):
                    failures.append(str(result))
                else:
                    width, height = result.image_size
                    images.append({"id": number, "file_name": str(path), "width": width, "height": height})
                    entries += result.to_coco(number)
                    annotated = {"annotated": str(target)} if target else {}
                    rows.append((str(path), str(len(result)), _scores(result), *annotated.values()))
                    if options.json:
                        line = {"file": str(path), **annotated, **result.to_dict()}
                        progress.clear()
                        print(json.dumps(line), flush=True)
                progress(number, len(paths))
        finally:  # an interrupted run keeps what it found
            wanted = bool(images) and options.output is not None
            written = wanted and _write_results(options.output, entries, images, failures)
    if rows and not options.json:
        print(table(("picture", "people", "scores", "annotated")[: len(rows[0])], rows))
        if written:
            print(f"COCO results: {options.output / 'results.json'} (image ids: {options.output / 'images.json'})")
    return len(rows)


def _write_results(folder: Path, entries: list[Any], images: list[Any], failures: list[str]) -> bool:
    """Write what is for programs; False, and a failure more, where that cannot be: the table is still to be printed."""
    try:
        write_json(folder / "results.json", entries)
        write_json(folder / "images.json", images)
    except OutputError as error:
        failures.append(str(error))
        return False
    return True


def _find(estimator: Any, jobs: list[tuple[Path, Path | None]]) -> list[Any]:
    """Read some pictures, find the people, write annotated copies where wanted: a result, or what went wrong, each."""
    from mobilepose_sdk.sources import read_picture

    pictures: dict[int, Any] = {}
    outcomes: list[Any] = [None] * len(jobs)
    for index, (path, _) in enumerate(jobs):
        try:
            pictures[index] = read_picture(path)
        except MobilePoseError as error:
            outcomes[index] = error
    several = list(pictures.values())
    found = estimator.batch(several) if len(several) > 1 else [estimator(picture) for picture in several]
    for (index, picture), result in zip(pictures.items(), found):
        path, target = jobs[index]
        try:
            if target is not None:
                _write(result.plot(picture), path, target)
            outcomes[index] = result
        except MobilePoseError as error:
            outcomes[index] = error
        except MemoryError as error:
            outcomes[index] = OutputError(f"cannot draw {str(path)!r}: not enough memory: {error}")
    return outcomes


def _write(annotated: Any, path: Path, target: Path) -> None:
    from mobilepose_sdk.opencv import cv2

    try:
        written, encoded = cv2.imencode(target.suffix, annotated)
    except cv2.error:  # how OpenCV 4.8 says so
        written = False
    if not written:
        height, width = annotated.shape[:2]
        raise InvalidInputError(f"{str(path)!r} is too large to be written as {target.suffix}: {width}×{height}")
    write_bytes(target, encoded.tobytes())  # not cv2.imwrite, which fails on some non-ASCII paths


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


def _lines_of_stdin() -> list[str]:
    lines = (line.rstrip("\r\n") for line in sys.stdin or ())  # a program may be started without it
    return [line for line in lines if line.strip()]


def _scores(result: Any) -> str:
    shown = "  ".join(f"{score:.2f}" for score in result.scores[:5])
    return shown + (" …" if len(result) > 5 else "")

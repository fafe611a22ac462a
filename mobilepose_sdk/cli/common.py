"""What the commands share: options of the estimator, tables, progress, files."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from mobilepose_sdk.errors import OutputError
from mobilepose_sdk.files import write_whole

OK, SOME_FAILED, FAILED = 0, 1, 3
EXIT_CODES = "exit codes: 0 all done, 1 some inputs failed, 2 wrong usage, 3 nothing could be done, 130 interrupted"


def add_estimator_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="pose model: a name from `mobilepose models`, or a folder")
    parser.add_argument(
        "--detector", help="person detector: a name or a folder, or 'none': every picture is one person"
    )
    parser.add_argument("--runtime", help="openvino or tflite (default: openvino)")
    parser.add_argument("--precision", help="int8 or fp16; the model's recommended one when omitted")
    parser.add_argument("--decoder", choices=("soft-argmax", "quarter-offset"), help="the model's own when omitted")
    parser.add_argument("--blur", type=float, metavar="SIGMA", help="blur heatmaps first; 0 for none, the model's own")
    parser.add_argument("--nms", choices=("hard", "soft", "parallel", "none"), help="how duplicates go (default: hard)")
    parser.add_argument(
        "--scales", type=_numbers, metavar="LIST", help="sizes a bottom-up model looks at, as in 0.5,1,1.5"
    )
    parser.add_argument("--flip-test", action="store_true", default=None, help="average with the mirrored crop")
    parser.add_argument("--threads", type=at_least_one, help="CPU threads; chosen automatically when omitted")


ESTIMATOR_OPTIONS = (
    "model", "detector", "runtime", "precision", "decoder", "blur", "nms", "scales", "flip_test", "threads",
)  # fmt: skip


def open_estimator(options: argparse.Namespace) -> Any:
    from mobilepose_sdk.estimator import PoseEstimator

    given = {
        name: value for name in (*ESTIMATOR_OPTIONS, "mode") if (value := getattr(options, name, None)) is not None
    }
    given.update({name: None for name in ("detector", "nms") if given.get(name) == "none"})
    return PoseEstimator(**given)


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between them, got {text!r}") from None


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the output folder {str(path)!r}: {error}") from error


def check_writable(path: Path) -> None:
    """Whether a file can be written: found out before what it is for is measured, which may take hours.

    Raises:
        OutputError: it cannot.
    """
    try:
        try:
            mode = path.stat().st_mode  # unlike exists(), it says so where a name is too long
        except FileNotFoundError:
            mode = stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise IsADirectoryError("it is a folder")
        if stat.S_ISREG(mode):  # and no device, such as /dev/stdout, beside which nothing may be made
            with TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise OutputError(
            f"cannot write {str(path)!r}: {error.strerror or error}; name a file in an existing, writable folder"
        ) from error


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """A whole file or, where that fails, the file that was there before.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error}") from error


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (header, *rows)]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def drop_output() -> None:
    """What is still buffered for standard output goes nowhere: or Python tries to write it again at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    if sys.stderr is not None:  # as under pythonw
        print(text, file=sys.stderr, flush=True)


class Progress:
    """A line on the terminal's stderr that counts up; silent for few files and where stderr is not a terminal."""

    def __init__(self, unit: str) -> None:
        self.unit, self.shown = unit, False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def __call__(self, done: int, total: int) -> None:
        if total > 3 and sys.stderr is not None and sys.stderr.isatty():
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

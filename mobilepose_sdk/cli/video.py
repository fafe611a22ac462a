"""``mobilepose video``: people in a video, a camera, a network stream or a folder of frames."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from mobilepose_sdk.cli.common import (
    EXIT_CODES,
    FAILED,
    OK,
    SOME_FAILED,
    Progress,
    add_estimator_options,
    drop_output,
    make_folder,
    open_estimator,
    say,
)
from mobilepose_sdk.errors import InvalidInputError, MobilePoseError, OutputError


def add_to(commands: Any) -> None:
    video = commands.add_parser("video", help="find and follow people in videos and cameras", epilog=EXIT_CODES)
    video.add_argument(
        "source", metavar="SOURCE", help="video file, folder of frames, camera number (0 is the first), RTSP address"
    )
    video.add_argument("-o", "--output", type=Path, metavar="OUT", help="annotated video to write, such as out.mp4")
    video.add_argument("--show", action="store_true", help="show it meanwhile; q or Esc ends it")
    video.add_argument("--json", type=Path, metavar="FILE", help="one JSON object a frame; - for standard output")
    video.add_argument("--detect-every", type=int, default=15, metavar="N", help="detect every N frames (default: 15)")
    video.add_argument("--no-tracking", action="store_true", help="every frame on its own, no smoothing")
    video.add_argument("--no-smoothing", action="store_true", help="keypoints as they are found")
    video.add_argument("--fps", type=float, default=30.0, help="frames a second of a folder (default: 30)")
    video.add_argument("--timeout", type=float, default=10.0, metavar="S", help="give a camera up after S seconds")
    add_estimator_options(video)
    video.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    _check_outputs(options)
    with ExitStack() as stack:
        window = _open_window(options, stack)
        estimator = stack.enter_context(open_estimator(options))
        settings = {name: None for name in ("tracking", "smoothing") if getattr(options, f"no_{name}")}
        stream = stack.enter_context(
            estimator.stream(
                _source(options.source),
                detect_every=options.detect_every,
                fps=options.fps,
                timeout=options.timeout,
                **settings,
            )
        )
        outputs = _Outputs(options, window, stack)  # not before: without a source, older results stay
        failure = None
        try:
            with Progress("frames") as progress:
                outputs.take_all(stream, progress)
        except OutputError:
            raise
        except MobilePoseError as error:
            failure = error
        finally:
            outputs.report(stream)
        if failure is not None:
            say(f"mobilepose: {failure}")
            return SOME_FAILED if outputs.frames else FAILED
    return OK


class _Outputs:
    """Where results go; all of it is finished when ``stack`` is left, and what is whole is named."""

    def __init__(self, options: argparse.Namespace, window: Any, stack: ExitStack) -> None:
        self._options, self._window, self._stack = options, window, stack
        self._lines = None if options.json is None else self._open_lines(options.json)
        self._writer: Any = None
        self._begun = set[Path]()
        self.frames, self.people = 0, set[int]()

    def take_all(self, stream: Any, progress: Progress) -> None:
        for result in stream:
            self.frames += 1
            if result.track_ids is not None:
                self.people.update(result.track_ids.tolist())
            if self._lines is not None:
                line = {"frame": stream.index, "time": round(stream.timestamp, 4), **result.to_dict()}
                with _writing(self._options.json):
                    print(json.dumps(line), file=self._lines, flush=True)
                self._begun.add(self._options.json)
            if not self._draw(stream, result):
                break
            progress(self.frames, max(stream.total or 0, self.frames))

    def _draw(self, stream: Any, result: Any) -> bool:
        """Write and show a frame; False when the window was closed."""
        if self._options.output is None and self._window is None:
            return True
        picture = result.plot(stream.frame)
        if self._options.output is not None:
            if self._writer is None:
                from mobilepose_sdk.video_writer import VideoWriter

                self._writer = VideoWriter(self._options.output, stream.source_fps)
                self._stack.callback(self._finish, self._options.output, self._writer.close)
            self._writer.write(picture, stream.timestamp)
            self._begun.add(self._options.output)
        return self._window is None or self._window(picture, _status(stream))

    def _open_lines(self, path: Path) -> TextIO:
        if str(path) == "-":
            return sys.stdout
        with _writing(path):
            lines = path.open("w", encoding="utf-8")
        self._stack.callback(self._finish, path, lines.close)
        return lines

    def _finish(self, path: Path, close: Callable[[], None]) -> None:
        with _writing(path):
            close()
        if path in self._begun:
            say(f"written: {path}")

    def report(self, stream: Any) -> None:
        tracked = "" if self._options.no_tracking else f", {len(self.people)} people followed"
        dropped = f", {stream.dropped} dropped" if stream.live else ""
        say(f"{self.frames} frames{dropped}{tracked}, {_status(stream)}")


def _status(stream: Any) -> str:
    return f"{stream.fps:.1f} frames a second, latency {stream.latency * 1e3:.0f} ms"


def _source(text: str) -> int | str:
    """A camera's number, unless a file or folder of that name exists."""
    return int(text) if text.isdecimal() and not Path(text).exists() else text


def _check_outputs(options: argparse.Namespace) -> None:
    source = Path(options.source.removeprefix("file:") if "://" in options.source else options.source)
    outputs = [path for path in (options.output, options.json) if path is not None and str(path) != "-"]
    for output in outputs:
        if os.path.exists(source) and _are_one(output, source):
            raise InvalidInputError(f"{str(output)!r} is the source itself; write to another file")
        make_folder(output.parent)
    if len(outputs) == 2 and _are_one(*outputs):
        raise InvalidInputError(f"{str(options.json)!r} cannot be both the video and the JSON; write to two files")
    if options.output is not None:
        from mobilepose_sdk.video_writer import VideoWriter

        VideoWriter(options.output, 1.0)  # a name that cannot be written is known before the work begins


def _are_one(first: Path, second: Path) -> bool:
    """Whether two names are one file's, be it there or not."""
    if os.path.exists(first) and os.path.exists(second):
        return os.path.samefile(first, second)
    return os.path.normcase(os.path.realpath(first)) == os.path.normcase(os.path.realpath(second))


def _open_window(options: argparse.Namespace, stack: ExitStack) -> Any:
    from mobilepose_sdk.cli.window import Window

    if not options.show:
        return None
    window = Window()
    stack.callback(window.close)
    return window


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Failures to write become the SDK's; that a pipe's reader has gone stays as it is, for the program to handle."""
    try:
        yield
    except (BrokenPipeError, OutputError):
        raise
    except OSError as error:
        if str(path) == "-":
            drop_output()
        raise OutputError(f"cannot write {str(path)!r}: {error}") from error

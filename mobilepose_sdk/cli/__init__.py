"""The ``mobilepose`` program: one module a command, each with ``add_to(commands)`` and ``run(options)``."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from mobilepose_sdk import __version__
from mobilepose_sdk.cli import evaluate, image, models, profile, tune, video
from mobilepose_sdk.cli.common import EXIT_CODES, FAILED, drop_output, say
from mobilepose_sdk.errors import MobilePoseError

COMMANDS = (image, video, models, evaluate, profile, tune)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    # A terminal's code page may lack what a file name holds, and a file name be no text at all.
    for stream, errors in (
        (sys.stdout, "backslashreplace"),
        (sys.stderr, "backslashreplace"),
        (sys.stdin, "surrogateescape"),
    ):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        with _stopped_like_ctrl_c():
            code = run(options)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
    except MobilePoseError as error:
        say(f"mobilepose: {error}")
        return FAILED
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        drop_output()
        return FAILED
    except OSError as error:  # standard output goes to a full disk
        drop_output()
        say(f"mobilepose: {error}")
        return FAILED
    except KeyboardInterrupt:
        say("mobilepose: interrupted")
        return 130


@contextmanager
def _stopped_like_ctrl_c() -> Iterator[None]:
    """A program that is told to end, or whose terminal is closed, finishes its files as on Ctrl-C."""
    kinds = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # Only the main thread may; and `nohup` wants SIGHUP to be ignored.
    mine = threading.current_thread() is threading.main_thread()
    before = {kind: signal.getsignal(kind) for kind in kinds if mine and signal.getsignal(kind) is signal.SIG_DFL}
    for kind in before:
        signal.signal(kind, _interrupt)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mobilepose", description="Find people and their keypoints.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"mobilepose {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser

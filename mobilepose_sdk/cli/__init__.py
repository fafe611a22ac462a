"""The ``mobilepose`` program: one module a command, each with ``add_to(commands)`` and ``run(options)``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from mobilepose_sdk import __version__
from mobilepose_sdk.cli import evaluate, image, models, profile, tune, video
from mobilepose_sdk.cli.common import EXIT_CODES, FAILED, say
from mobilepose_sdk.errors import MobilePoseError

COMMANDS = (image, video, models, evaluate, profile, tune)


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
        say(f"mobilepose: {error}")
        return FAILED
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        return FAILED
    except KeyboardInterrupt:
        say("mobilepose: interrupted")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mobilepose", description="Find people and their keypoints.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"mobilepose {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return parser

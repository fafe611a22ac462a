"""A machine on which OpenCV cannot be loaded is told what to do: containers seldom have its graphics libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAUSE = "libxcb.so.1: cannot open shared object file"
HELP = "pip install opencv-python-headless"


@pytest.fixture
def without_opencv(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``import cv2`` fails as it does without those libraries."""
    (tmp_path / "cv2.py").write_text(f"raise ImportError({CAUSE!r})\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_the_error_says_what_is_missing_and_what_to_install(without_opencv: dict[str, str]) -> None:
    program = """
from mobilepose_sdk import MobilePoseError
for attempt in range(2):
    try:
        from mobilepose_sdk import PoseEstimator
    except MobilePoseError as error:
        assert isinstance(error, ImportError)
        print(error)
"""
    done = run(without_opencv, "-c", program)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second and CAUSE in first and HELP in first


def test_the_program_says_so_without_a_traceback(without_opencv: dict[str, str]) -> None:
    done = run(without_opencv, "-m", "mobilepose_sdk.cli", "image", "people.jpg")
    assert done.returncode == 3
    assert done.stderr.startswith("mobilepose: OpenCV cannot be loaded") and HELP in done.stderr
    assert "Traceback" not in done.stderr


def test_models_are_listed_without_opencv(without_opencv: dict[str, str]) -> None:
    done = run(without_opencv, "-m", "mobilepose_sdk.cli", "models")
    assert done.returncode == 0, done.stderr
    assert "mobileposenet-256x192" in done.stdout

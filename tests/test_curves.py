"""Learning curves count what all runs have seen."""

from __future__ import annotations

import cv2

from converters.curves import draw_curve, whole_curve

FIRST = {"before": None, "curve": [{"samples": 10, "pck": 0.1, "input": [96, 128]}]}
SECOND = {"before": FIRST, "curve": [{"samples": 5, "pck": 0.2, "input": [192, 256]}]}


def test_a_continued_run_counts_from_the_very_beginning():
    assert [(entry["samples"], entry["pck"]) for entry in whole_curve(SECOND)] == [(10, 0.1), (15, 0.2)]


def test_the_picture_is_drawn(tmp_path):
    draw_curve(SECOND, tmp_path / "curve.png")
    assert cv2.imread(str(tmp_path / "curve.png")).std() > 5

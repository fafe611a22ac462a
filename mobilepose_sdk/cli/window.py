"""A window on the screen, or the reason why there is none."""

from __future__ import annotations

import os
import sys
from typing import Any

from mobilepose_sdk.errors import OutputError

HEADLESS = (
    "cannot show anything: this OpenCV was built without windows (opencv-python-headless); "
    "pip uninstall opencv-python-headless, then pip install --force-reinstall opencv-python, or use -o FILE instead"
)
NO_DISPLAY = "cannot show anything: there is no display here (DISPLAY is not set); use -o FILE instead of --show"
KEYS_TO_LEAVE = (ord("q"), 27)


TITLE = "mobilepose"


class Window:
    """Shows pictures; q, Esc or the window's own button closes it.

    Raises:
        OutputError: there is no display, or OpenCV was built without windows.
    """

    def __init__(self) -> None:
        from mobilepose_sdk.opencv import cv2

        self._cv2 = cv2
        # Qt would end the whole process.
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise OutputError(NO_DISPLAY)
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise OutputError(HEADLESS) from error

    def __call__(self, picture: Any, line: str) -> bool:
        """Show a picture with a line of text; False when the window was closed."""
        cv2 = self._cv2
        shown = picture.copy()
        for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(shown, line, (10, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, thickness, cv2.LINE_AA)
        cv2.imshow(TITLE, shown)
        pressed = cv2.waitKey(1) & 0xFF
        return pressed not in KEYS_TO_LEAVE and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        self._cv2.destroyWindow(TITLE)

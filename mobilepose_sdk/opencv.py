"""OpenCV, or what to do where it cannot be loaded: the only module that imports it."""

from __future__ import annotations

from mobilepose_sdk.errors import MissingDependencyError

try:
    import cv2 as cv2
except ImportError as error:
    raise MissingDependencyError(
        f"OpenCV cannot be loaded: {error}. In containers and on servers the system's graphics libraries are often "
        "missing; opencv-python-headless needs none: pip uninstall -y opencv-python && "
        "pip install opencv-python-headless. Otherwise: pip install --force-reinstall opencv-python"
    ) from error

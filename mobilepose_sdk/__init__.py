"""People and their keypoints in pictures, on a plain CPU.

    from mobilepose_sdk import PoseEstimator

    result = PoseEstimator()("people.jpg")

Names are loaded when first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobilepose_sdk.detection import PersonDetector as PersonDetector
    from mobilepose_sdk.errors import MobilePoseError as MobilePoseError
    from mobilepose_sdk.estimator import PoseEstimator as PoseEstimator
    from mobilepose_sdk.models import ModelCard as ModelCard
    from mobilepose_sdk.models import list_models as list_models
    from mobilepose_sdk.results import PoseResult as PoseResult
    from mobilepose_sdk.skeleton import Skeleton as Skeleton
    from mobilepose_sdk.smoothing import Smoothing as Smoothing
    from mobilepose_sdk.streaming import PoseStream as PoseStream
    from mobilepose_sdk.tracking import Tracking as Tracking

__version__ = "0.1.0"

_HOMES = {
    "PoseEstimator": "estimator",
    "PoseResult": "results",
    "PersonDetector": "detection",
    "ModelCard": "models",
    "list_models": "models",
    "PoseStream": "streaming",
    "Tracking": "tracking",
    "Smoothing": "smoothing",
    "Skeleton": "skeleton",
    "MobilePoseError": "errors",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

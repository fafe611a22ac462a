"""MobilePoseNet's augmentation (§4.2): rotation up to 45°, scale 0.65 to 1.35, flips and half bodies.

What the paper does not name is as strong as in every other long run: colour, blur, stretching, cut and hidden people.
"""

from __future__ import annotations

from dataclasses import replace

from converters.training.augmentation import Augmentation
from converters.training.loop import Recipe, Task
from converters.training.pose import PoseTask
from converters.training.validation import Network
from mobilepose_sdk.errors import InvalidInputError

HALF_BODIES = Augmentation(rotation=45.0, scale=0.35, half_body_share=0.3)
"""The paper prints no share of half bodies; 0.3 is what the code it builds on uses."""


def half_body(task: Task, recipe: Recipe, teacher: Network | None = None) -> tuple[Task, Recipe]:
    """The task with the paper's augmentation in place of the gentler one for short runs, until the end."""
    if not isinstance(task, PoseTask):
        raise InvalidInputError("half-body augmentation is for top-down networks, which see one person's crop")
    stages = tuple(replace(stage, calm=False) for stage in recipe.stages)
    return replace(task, augmentation=HALF_BODIES), replace(recipe, stages=stages)

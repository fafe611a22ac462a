"""LPN's iterative training strategy (§3.3): the rate is reset again and again, each time from the best weights."""

from __future__ import annotations

from dataclasses import replace

from converters.training.loop import Recipe, Task
from converters.training.pose import PoseTask
from converters.training.schedule import Iterative
from converters.training.validation import Network
from mobilepose_sdk.errors import InvalidInputError


def iterative(task: Task, recipe: Recipe, teacher: Network | None = None) -> tuple[Task, Recipe]:
    """Seven stages at the last input size, the rate from 1e-3 down by ten at epochs 90 and 120 of 150 (§4.1).

    The paper trains at one size from the start; small-then-full runs belong before it, with ``--continue``.
    """
    if not isinstance(task, PoseTask):
        raise InvalidInputError("LPN's iterative training is for top-down networks, which see one person's crop")
    (*_, last) = recipe.stages
    only = replace(last, until=1.0, frozen=(), calm=False)
    return task, replace(recipe, stages=(only,), peak_rate=1e-3, schedule=Iterative())

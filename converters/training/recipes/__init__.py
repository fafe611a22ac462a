"""The papers' training methods, by name: each turns a network's usual task and recipe into its own."""

from __future__ import annotations

from collections.abc import Callable

from converters.training.loop import Recipe, Task
from converters.training.recipes.half_body import half_body
from converters.training.recipes.iterative import iterative
from converters.training.recipes.mapd import mapd
from converters.training.validation import Network

Method = Callable[[Task, Recipe, Network | None], tuple[Task, Recipe]]
"""Task, recipe and a teacher network, which only distillation uses, to task and recipe."""

METHODS: dict[str, Method] = {"iterative": iterative, "mapd": mapd, "half-body": half_body}

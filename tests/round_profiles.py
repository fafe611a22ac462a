"""Profiles with round figures."""

from __future__ import annotations

from mobilepose_sdk.profiling import Configuration, Layer, Profile
from mobilepose_sdk.profiling.process import FreshRun
from mobilepose_sdk.profiling.spread import Spread
from mobilepose_sdk.profiling.stages import STAGES

ALL = (*STAGES, "total")


def made(precision: str, factor: float = 1.0, fresh: bool = True, **changes) -> Profile:
    """A profile with round figures: stage number n takes n ms times ``factor``."""
    stages = {name: Spread(n * factor, 2 * n * factor, 3 * n * factor) for n, name in enumerate(ALL, 1)}
    return Profile(
        configuration=Configuration("lpn-50", precision=precision, threads=2),
        settings="2 threads, 1 stream",
        stages={**stages, **changes},
        model_bytes=int(4_000_000 * factor),
        fresh=FreshRun(0.5 * factor, 200_000_000) if fresh else None,
        layers=(Layer("conv", "brgconv", 0.5),),
        warnings=(),
    )

"""Sharing the processor within one process: what inferences count as, added up, is never more cores than there are."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from mobilepose_sdk.topology import read_topology


class CoreBudget:
    """Hands cores out, first come first served.

    Two estimators that each use every core take turns, instead of running twice as many threads as there are cores.

    Args:
        cores: how many there are to share.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._free = float(cores)
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def taken(self, cores: float) -> Iterator[None]:
        """Wait until ``cores`` of them are free and keep them for the block; more than there are means all of them."""
        cores = min(cores, float(self.cores))
        self._take(cores)
        try:
            yield
        finally:
            with self._changed:
                self._free += cores
                self._changed.notify_all()

    def _take(self, cores: float) -> None:
        with self._changed:
            ticket = object()
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and self._free >= cores)
                self._free -= cores
            finally:  # also where Ctrl-C ends the wait
                self._waiting.remove(ticket)
                self._changed.notify_all()


_guard = threading.Lock()
_shared: CoreBudget | None = None


def shared_budget() -> CoreBudget:
    """The process's own budget: its physical cores, less where a container's quota pays for less."""
    global _shared
    with _guard:
        if _shared is None:
            topology = read_topology()
            _shared = CoreBudget(topology.affordable(len(topology.cores)))
        return _shared


def _forget() -> None:
    """A forked child starts anew: what its parent's threads held is never given back there."""
    global _guard, _shared
    _guard, _shared = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

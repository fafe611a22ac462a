"""Many pictures: groups of them worked on side by side, one decoded while another is in the network."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from mobilepose_sdk.opencv import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

GROUP = 4
"""Pictures that share a pass through the network: fills the batches, keeps all streams busy."""


def in_groups(
    work: Callable[[list[Item]], list[Result]], items: Iterable[Item], *, workers: int, size: int = GROUP
) -> Iterator[Result]:
    """``work`` on groups of items, in several threads or, with one worker, in the caller's; results in order.

    Items are taken as room becomes free, so that ``items`` may be endless or read files as it goes.

    Args:
        work: takes up to ``size`` items, gives as many results; called from ``workers`` threads at once.
        items: what to work on.
        workers: threads.
        size: items in a group.

    Raises:
        whatever ``work`` or ``items`` raises, in the order of the items; what is still waiting is dropped.
    """
    source = iter(items)
    if workers == 1:
        while group := list(islice(source, size)):
            yield from work(group)
        return
    waiting: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="mobilepose")
    with _opencv_on_one_thread():
        try:
            while True:
                while len(waiting) < 2 * workers and (group := list(islice(source, size))):
                    waiting.append(pool.submit(work, group))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


_guard = threading.Lock()
_users = 0
_usual = 1


@contextmanager
def _opencv_on_one_thread() -> Iterator[None]:
    """OpenCV's operations on one thread each, for the whole process, while anybody is in here.

    Several pictures are worked on at once, so that a second thread for one of them is taken from another's network.
    """
    global _users, _usual
    with _guard:
        if _users == 0:
            _usual = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _users += 1
    try:
        yield
    finally:
        with _guard:
            _users -= 1
            if _users == 0:
                cv2.setNumThreads(_usual)

"""How many threads a network gets, and on which cores: from a processor's topology to a library's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from mobilepose_sdk.options import whole_number
from mobilepose_sdk.topology import Topology

Mode = Literal["latency", "throughput"]
"""``"latency"``: one picture as soon as possible. ``"throughput"``: as many pictures a second as possible."""
MODES: tuple[Mode, ...] = get_args(Mode)
MOST_STREAMS = 16
"""Every stream holds its own working memory."""


MOST_THREADS = 4096


def thread_count(threads: object) -> int:
    """What a caller asked for, 0 for ``"auto"``.

    Raises:
        InvalidInputError: something else.
    """
    if isinstance(threads, str) and threads == "auto":
        return 0
    return whole_number("threads", threads, most=MOST_THREADS, instead="'auto'")


@dataclass(frozen=True)
class Threads:
    """What a caller asked for: ``count`` threads, 0 for as many as suit the machine, and what for."""

    count: int = 0
    mode: Mode = "latency"


@dataclass(frozen=True)
class CPUSettings:
    """How a network runs on the processor.

    Attributes:
        threads: in all.
        streams: inferences that run side by side, each with its part of the threads.
        pinning: bind threads to cores. Two processes that do would bind to the *same* cores, so it is off unless
            measured to help.
        core_type: ``"performance"`` keeps off the efficiency cores of a hybrid processor.
        hyper_threading: use both threads of a core.
    """

    threads: int
    streams: int = 1
    pinning: bool = False
    core_type: Literal["any", "performance"] = "any"
    hyper_threading: bool = False

    @property
    def threads_a_stream(self) -> int:
        """Threads of one inference; what LiteRT, which knows no streams, is given."""
        return max(1, self.threads // self.streams)

    @property
    def cores_an_inference(self) -> float:
        """Physical cores that one inference counts as in the process's :class:`~mobilepose_sdk.core_budget.CoreBudget`.

        Those that it keeps busy, and with several streams half of them: as many inferences again stand ready, so that
        no core waits until Python, which runs one thread at a time, hands over the next.
        """
        busy = self.threads_a_stream / (2 if self.hyper_threading else 1)
        return busy if self.streams == 1 else busy / 2

    def openvino(self) -> dict[str, Any]:
        """OpenVINO's properties for its CPU device."""
        return {
            "PERFORMANCE_HINT": "LATENCY" if self.streams == 1 else "THROUGHPUT",
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": self.streams,
            "ENABLE_CPU_PINNING": self.pinning,
            "SCHEDULING_CORE_TYPE": "PCORE_ONLY" if self.core_type == "performance" else "ANY_CORE",
            "ENABLE_HYPER_THREADING": self.hyper_threading,
        }

    def __str__(self) -> str:
        parts = [_counted(self.threads, "thread"), _counted(self.streams, "stream")]
        parts += ["P-cores"] if self.core_type == "performance" else []
        parts += ["hyper-threading"] if self.hyper_threading else []
        return ", ".join(parts + (["pinned"] if self.pinning else []))


def settings_for(topology: Topology, wanted: Threads) -> CPUSettings:
    """Settings that suit a processor, before anything is measured.

    Latency: one stream on the physical performance cores. Throughput: a stream a physical core, of either kind, as
    streams wait for each other less than threads do. A container's CPU quota limits both. A thread count that the
    caller gives is kept as it is.
    """
    cores = len(topology.cores) if wanted.mode == "throughput" else topology.performance_cores
    threads = wanted.count or topology.affordable(cores)
    return CPUSettings(
        threads=threads,
        streams=min(threads, MOST_STREAMS) if wanted.mode == "throughput" else 1,
        core_type="performance" if topology.hybrid and threads <= topology.performance_cores else "any",
        hyper_threading=topology.smt and threads > len(topology.cores),
    )


def candidates(topology: Topology, mode: Mode) -> list[CPUSettings]:
    """Settings worth measuring on a processor, the default first, none twice."""
    default = settings_for(topology, Threads(mode=mode))
    # Rounded up as well as down: whether the quota's last part of a CPU helps depends on how often it is called.
    most = topology.logical if topology.quota is None else min(topology.logical, int(topology.quota) + 1)
    counts = {1, most, min(most, len(topology.cores)), min(most, topology.performance_cores), default.threads}
    counts.add(max(1, default.threads // 2))
    found = [default]
    for count in sorted(counts):
        one = settings_for(topology, Threads(count))
        several = settings_for(topology, Threads(count, "throughput"))
        if mode == "latency":
            found.append(one)
        else:
            halved = CPUSettings(count, max(1, several.streams // 2), False, several.core_type, several.hyper_threading)
            found += [several, halved]
    if topology.quota is None:
        found.append(CPUSettings(default.threads, default.streams, True, default.core_type, default.hyper_threading))
    return list(dict.fromkeys(found))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

"""What `mobilepose tune` found, kept in the user's cache folder: one small JSON file a machine, model and runtime."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mobilepose_sdk.errors import MissingDependencyError, TuningStoreError
from mobilepose_sdk.files import write_whole
from mobilepose_sdk.models import ModelFile
from mobilepose_sdk.threads import CPUSettings, Mode
from mobilepose_sdk.topology import Topology

PACKAGES = {"openvino": "openvino", "tflite": "ai-edge-litert"}
"""What carries each runtime, by the name it is installed under."""


@dataclass(frozen=True)
class TuningKey:
    """What a finding is valid for; anything else is measured anew.

    Attributes:
        cpu: the processor as this process may use it, quota included.
        model: sha256 of the model's files.
        runtime: its name and version.
        mode: what was asked for.
    """

    cpu: str
    model: str
    runtime: str
    mode: Mode

    @property
    def file_name(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:32] + ".json"


def key_for(topology: Topology, files: Sequence[ModelFile], runtime: str, mode: Mode) -> TuningKey:
    """The key of a model's files, as its card lists them, on a processor."""
    model = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    return TuningKey(str(topology), model, f"{runtime} {runtime_version(runtime)}", mode)


@cache
def runtime_version(runtime: str) -> str:
    """The installed version of a runtime's library, without importing it; empty where it is not installed."""
    try:
        return metadata.version(PACKAGES[runtime])
    except metadata.PackageNotFoundError:
        return ""


def cache_folder() -> Path:
    """Where findings are kept.

    Raises:
        MissingDependencyError: platformdirs, which knows each system's cache folder, is not installed.
        TuningStoreError: the user has no home folder.
    """
    try:
        from platformdirs import user_cache_path
    except ImportError as error:
        raise MissingDependencyError("tuning needs platformdirs: pip install 'mobilepose-sdk[tune]'") from error
    try:
        return Path(user_cache_path("mobilepose_sdk", appauthor=False)) / "tuning"
    except RuntimeError as error:
        raise TuningStoreError(f"no folder for tuned settings: {error}; set HOME or XDG_CACHE_HOME") from error


def prepare() -> None:
    """Make the folder, before much is measured for it.

    Raises:
        MissingDependencyError: see :func:`cache_folder`.
        TuningStoreError: there can be none, or it cannot be written to.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TuningStoreError(f"cannot keep tuned settings in {str(folder)!r}: {error}") from error
    if not os.access(folder, os.W_OK):
        raise TuningStoreError(f"cannot keep tuned settings in {str(folder)!r}: it cannot be written to")


def read(key: TuningKey) -> CPUSettings | None:
    """What was found for ``key``; None where nothing was, or the file is damaged: the next tuning rewrites it."""
    try:
        entries = json.loads((cache_folder() / key.file_name).read_text(encoding="utf-8"))
        return _checked(CPUSettings(**entries["settings"])) if entries["key"] == asdict(key) else None
    except (MissingDependencyError, OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def write(key: TuningKey, settings: CPUSettings, table: Sequence[dict[str, Any]]) -> Path:
    """Keep what was found.

    Args:
        key: what it is valid for.
        settings: the winner.
        table: what was measured, for the curious.

    Returns:
        the file.

    Raises:
        MissingDependencyError: see :func:`cache_folder`.
        TuningStoreError: the folder cannot be written to.
    """
    path = cache_folder() / key.file_name
    content = json.dumps({"key": asdict(key), "settings": asdict(settings), "measured": list(table)}, indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.encode("utf-8"))
    except OSError as error:
        raise TuningStoreError(f"cannot keep the tuned settings in {str(path)!r}: {error}") from error
    return path


def _checked(settings: CPUSettings) -> CPUSettings:
    """Settings as a file gave them, if they are any.

    Raises:
        ValueError: they are not.
    """
    numbers = (settings.threads, settings.streams)
    whole = all(type(number) is int and number >= 1 for number in numbers) and settings.streams <= settings.threads
    switches = all(type(switch) is bool for switch in (settings.pinning, settings.hyper_threading))
    if not (whole and switches and settings.core_type in ("any", "performance")):
        raise ValueError(f"no settings: {settings}")
    return settings

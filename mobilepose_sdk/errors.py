"""Every error the SDK raises on purpose.

Each is a :class:`MobilePoseError` and the built-in error a caller would expect, so ``except ValueError`` keeps working.
"""

from __future__ import annotations


class MobilePoseError(Exception):
    """Base of all errors raised by the SDK."""


class InvalidInputError(MobilePoseError, ValueError):
    """An argument, a picture's contents or an array is not what is accepted."""


class InvalidTypeError(MobilePoseError, TypeError):
    """An argument is of a type that is not accepted."""


class InvalidIndexError(MobilePoseError, IndexError):
    """A result has no such person."""


class SourceNotFoundError(MobilePoseError, FileNotFoundError):
    """A path, pattern or camera does not exist."""


class SourceReadError(MobilePoseError, OSError):
    """A picture or video exists but cannot be read."""


class SourceLostError(SourceReadError):
    """A camera or network stream stopped giving frames and did not come back."""


class OutputError(MobilePoseError, OSError):
    """A result cannot be written or shown."""


class StateError(MobilePoseError, RuntimeError):
    """Too late or too early: an estimator that was closed, or a stream without a result yet."""


class ModelNotFoundError(MobilePoseError, LookupError):
    """No model of that name, precision or runtime."""


class ModelFileError(MobilePoseError, OSError):
    """A model file is missing, altered or unreadable."""


class MissingDependencyError(MobilePoseError, ImportError):
    """An optional library is needed and not installed."""


class TuningStoreError(MobilePoseError, OSError):
    """What was tuned cannot be kept."""


class ProfilingError(MobilePoseError, RuntimeError):
    """A measurement could not be made."""

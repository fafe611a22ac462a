"""Model cards: what each packaged model is, what it was made from, and the files it consists of."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from mobilepose_sdk.errors import InvalidInputError, InvalidTypeError, ModelFileError, ModelNotFoundError
from mobilepose_sdk.fields import (
    NUMBER,
    OBJECT,
    OBJECTS,
    TEXT,
    Accepted,
    check_fields,
    is_number,
    list_of,
    object_of,
    one_of,
    whole,
)

Kind = Literal["pose", "detector"]
Approach = Literal["top-down", "bottom-up"]
DEFAULT_POSE_MODEL = "mobileposenet-256x192"
DEFAULT_DETECTOR = "person-detector"

SIZES = list_of("whole numbers of at least 1", whole(1).fits)
FILE_LISTS = object_of(
    "lists by precision, each of at least one file", lambda value: OBJECTS.fits(value) and value != []
)
CARD = {
    "name": TEXT,
    "kind": one_of(*get_args(Kind)),
    "summary": TEXT,
    "paper": TEXT,
    "licence": TEXT,
    "input_size": Accepted("[width, height], whole numbers of at least 1", lambda v: SIZES.fits(v) and len(v) == 2),
    "color": one_of("bgr", "rgb"),
    "stride": whole(1),
    "outputs": OBJECTS,
    "parameters": whole(0),
    "macs": whole(0),
    "files": object_of(f"runtimes, each {FILE_LISTS.words}", FILE_LISTS.fits),
}
CARD_OPTIONS = {
    "approach": one_of(*get_args(Approach)),
    "skeleton": TEXT,
    "decoder": OBJECT,
    "padding": Accepted("a finite number above 0", lambda value: is_number(value) and value > 0),
    "min_score": NUMBER,
    "training": OBJECT,
    "quantization": OBJECT,
    "accuracy": object_of("objects of numbers", object_of("numbers", is_number).fits),
}
DETECTOR = {"min_score": Accepted("a number above 0 and under 1", lambda value: is_number(value) and 0 < value < 1)}
OUTPUT = {"name": TEXT, "shape": SIZES}
FILE = {"path": TEXT, "bytes": whole(0), "sha256": TEXT}


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: its path within the model's folder, its size in bytes and its sha256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ModelCard:
    """What a model is.

    Attributes:
        name: what ``PoseEstimator`` is called with.
        kind: ``"pose"`` or ``"detector"``.
        summary: one line.
        paper: where the network comes from.
        licence: of the weights.
        input_size: (width, height), pixels.
        color: channel order of the uint8 NHWC input, ``"bgr"`` or ``"rgb"``.
        stride: input pixels per output-map pixel.
        outputs: name and shape, for one picture, of each output, in order.
        approach: ``"top-down"``, one person's crop at a time, or ``"bottom-up"``, everybody in one pass (pose models).
        skeleton: name of the keypoint layout; empty for a detector.
        decoder: default decoder of a pose model, keyword arguments of ``decoding.heatmaps.decode`` or, bottom-up, of
            ``decoding.grouping.group``.
        padding: how much a person's box is grown before it is cropped, where it is given; boxes that are found are
            grown by 1.25 at least.
        min_score: a detector's default score threshold.
        parameters: trained numbers.
        macs: multiply-accumulates of one input.
        precisions: by runtime, most recommended first.
        training: data with terms, command, seed, time.
        quantization: how the INT8 files were made.
        accuracy: measured figures, by ``runtime-precision``.
        files: by runtime and precision.
        folder: where the files lie.
    """

    name: str
    kind: Kind
    summary: str
    paper: str
    licence: str
    input_size: tuple[int, int]
    color: Literal["bgr", "rgb"]
    stride: int
    outputs: list[dict[str, Any]]
    parameters: int
    macs: int
    approach: Approach = "top-down"
    skeleton: str = ""
    decoder: dict[str, Any] = field(default_factory=dict)
    padding: float = 1.25
    min_score: float = 0.0
    training: dict[str, Any] = field(default_factory=dict)
    quantization: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    files: dict[str, dict[str, list[ModelFile]]] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def trained(self) -> bool:
        """Whether the model has files to run; one that does not is listed, but cannot be opened."""
        return bool(self.files)

    @property
    def precisions(self) -> dict[str, list[str]]:
        return {runtime: list(files) for runtime, files in self.files.items()}

    def verified_files(self, runtime: str, precision: str) -> list[Path]:
        """Paths of a precision's files, each checked against the card's sha256.

        Raises:
            ModelNotFoundError: the model has no such runtime or precision.
            ModelFileError: a file is missing or was altered.
        """
        try:
            files = self.files[runtime][precision]
        except KeyError:
            raise ModelNotFoundError(
                f"{self.name} has no {precision!r} files for runtime {runtime!r}; it has {self.precisions}"
            ) from None
        return [self._verified(file) for file in files]

    def _verified(self, file: ModelFile) -> Path:
        path = self.folder / file.path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"model file {path} cannot be read ({error}); reinstall mobilepose-sdk") from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ModelFileError(
                f"model file {path} was altered: its sha256 is not the one in card.json "
                f"({len(content)} bytes, {file.bytes} expected); reinstall mobilepose-sdk"
            )
        return path

    @classmethod
    def read(cls, folder: Path) -> ModelCard:
        """The card of a model folder.

        Raises:
            ModelFileError: there is no ``card.json``, or it is not a card.
        """
        path = folder / "card.json"
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            _check_card(entries)
            files = {
                runtime: {precision: [ModelFile(**file) for file in listed] for precision, listed in by.items()}
                for runtime, by in entries.pop("files").items()
            }
            entries["input_size"] = tuple(entries["input_size"])
            return cls(**entries, files=files, folder=folder)
        except OSError as error:
            raise ModelFileError(f"no readable model card at {path} ({error})") from error
        except InvalidInputError as error:
            raise ModelFileError(f"{path} is not a model card of this version: {error}") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise ModelFileError(f"{path} is not a model card of this version: {error!r}") from error


def _check_card(entries: Any) -> None:
    """Whether the fields of a card hold what they should, and fit each other.

    Raises:
        InvalidInputError: they do not.
    """
    check_fields("it", entries, CARD, CARD_OPTIONS)
    for number, output in enumerate(entries["outputs"]):
        check_fields(f"outputs[{number}]", output, OUTPUT)
    for listed in (listed for by in entries["files"].values() for listed in by.values()):
        for number, file in enumerate(listed):
            check_fields(f"file {number} of its files", file, FILE)
    if entries["kind"] == "detector":
        check_fields("it", entries, DETECTOR)
    elif entries["outputs"] and entries.get("approach", "top-down") == "top-down":
        _check_heatmaps(entries)


def _check_heatmaps(entries: dict[str, Any]) -> None:
    (width, height), stride, shape = entries["input_size"], entries["stride"], entries["outputs"][0]["shape"]
    if shape[2:] != [height // stride, width // stride] or width % stride or height % stride:
        raise InvalidInputError(
            f"it has the input_size {[width, height]} and the stride {stride}, which its outputs of shape {shape} do "
            "not fit; accepted: outputs of shape [1, keypoints, height / stride, width / stride]"
        )


def prebuilt_folder() -> Path:
    """Where the packaged models lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "prebuilt"
    return inside if inside.is_dir() else package.parent / "prebuilt"


@cache
def _catalogue() -> dict[str, ModelCard]:
    found = {}
    for path in sorted(prebuilt_folder().glob("*/card.json")):
        # One broken model must not take the others along; opening it says what is wrong with it.
        with suppress(ModelFileError):
            card = ModelCard.read(path.parent)
            found[card.name] = card
    return found


def list_models() -> list[ModelCard]:
    """The packaged models, by name."""
    return list(_catalogue().values())


def find_model(model: str | Path, kind: Kind | None = None) -> ModelCard:
    """The card of a packaged model, or of a model folder; of any kind when ``kind`` is None.

    A bare name is a packaged model's, unless that is not trained and there is a folder of the name; what is a path, as
    ``Path("lpn-50")`` and ``"./lpn-50"`` are, is a folder first.

    Raises:
        ModelNotFoundError: no packaged model of that name, nor a folder with a card; or it is not trained.
        ModelFileError: its card cannot be read.
        InvalidInputError: the model is of another kind.
        InvalidTypeError: ``model`` is neither a name nor a path.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise InvalidTypeError(f"a model is a name or a folder, got {type(model).__name__}")
    card, own = _catalogue().get(str(model)), Path(model)
    bare = isinstance(model, str) and own.name == model
    broken = prebuilt_folder() / own.name  # if there is such a one: the catalogue leaves it out
    if os.path.isfile(own / "card.json") and not (bare and card is not None and card.trained):
        card = ModelCard.read(own)
    elif card is None:
        packaged = bare and os.path.isfile(broken / "card.json")
        if not packaged and not os.path.isdir(model):
            names = [n for n, known in _catalogue().items() if known.trained and kind in (known.kind, None)]
            raise ModelNotFoundError(
                f"no {kind + ' ' if kind else ''}model {str(model)!r}; packaged: {', '.join(names) or 'none'}; "
                "or give a model folder"
            )
        card = ModelCard.read(broken if packaged else own)
    if not card.trained:
        raise ModelNotFoundError(
            f"{card.name} is not trained and has no files to run; from a checkout, train it with "
            f"`python -m converters train {card.name} --data DATA --minutes 240` or, where its authors released "
            f"weights, convert a checkpoint with `python -m converters import {card.name} CHECKPOINT --out FOLDER`"
        )
    if kind not in (card.kind, None):
        raise InvalidInputError(f"{card.name} is a {card.kind} model; a {kind} model is needed here")
    return card

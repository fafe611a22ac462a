"""LiteRT behind the SDK's Runtime protocol, with a LiteRT that only counts and with the real one on broken files."""

from __future__ import annotations

import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mobilepose_sdk import PersonDetector, PoseEstimator
from mobilepose_sdk.core_budget import CoreBudget
from mobilepose_sdk.errors import (
    InvalidInputError,
    MissingDependencyError,
    MobilePoseError,
    ModelFileError,
    ModelNotFoundError,
)
from mobilepose_sdk.runtimes import load, open_files
from mobilepose_sdk.runtimes.tflite import TFLiteRuntime
from mobilepose_sdk.threads import CPUSettings
from tests.fakes import make_card

SHAPE = (1, 8, 6, 3)


class FakeInterpreter:
    """Two outputs, listed last one first: the mean of the picture, and its first pixel's channels."""

    made: list[FakeInterpreter] = []  # noqa: RUF012
    barrier: threading.Barrier | None = None

    def __init__(self, model_content: bytes, num_threads: int) -> None:
        self.threads = num_threads
        self.tensors: dict[int, np.ndarray] = {}
        self.busy = False
        FakeInterpreter.made.append(self)

    def allocate_tensors(self) -> None:
        pass

    def get_signature_runner(self) -> SimpleNamespace:
        return SimpleNamespace(
            get_input_details=lambda: {"pictures": {"index": 5, "shape": np.array(SHAPE)}},
            get_output_details=lambda: {"pixel": {"index": 8}, "mean": {"index": 7}},
        )

    def set_tensor(self, index: int, value: np.ndarray) -> None:
        assert index == 5 and value.shape == SHAPE and value.dtype == np.uint8
        assert not self.busy, "one interpreter was used by two threads"
        self.busy = True
        self.tensors = {7: value.mean(dtype=np.float32).reshape(1, 1), 8: value[:, 0, 0].astype(np.float32)}

    def invoke(self) -> None:
        if self.barrier is not None:
            self.barrier.wait(10)

    def get_tensor(self, index: int) -> np.ndarray:
        self.busy = False
        return self.tensors[index]


@pytest.fixture
def litert(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model file, and a LiteRT that accepts it."""
    monkeypatch.setattr(FakeInterpreter, "made", [])
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace(Interpreter=FakeInterpreter))
    (tmp_path / "int8.tflite").write_bytes(b"TFL3")
    return tmp_path / "int8.tflite"


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE[1:]), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 5])
def test_pictures_run_one_by_one_and_come_back_in_order(litert: Path, count: int) -> None:
    batch = pictures(count)
    pixel, mean = TFLiteRuntime(litert, ["pixel", "mean"])(batch)
    np.testing.assert_allclose(mean, batch.mean(axis=(1, 2, 3))[:, None], rtol=1e-6)
    np.testing.assert_array_equal(pixel, batch[:, 0, 0])


def test_the_card_decides_the_order_of_outputs(litert: Path) -> None:
    assert [output.shape for output in TFLiteRuntime(litert, ["mean", "pixel"])(pictures(2))] == [(2, 1), (2, 3)]
    assert [output.shape for output in TFLiteRuntime(litert)(pictures(2))] == [(2, 3), (2, 1)]


def test_an_output_that_the_file_lacks_is_named(litert: Path) -> None:
    with pytest.raises(ModelFileError, match=r"int8\.tflite has the outputs \['pixel', 'mean'\].*names heatmaps"):
        TFLiteRuntime(litert, ["heatmaps", "mean"])


def test_threads_are_as_asked(litert: Path) -> None:
    TFLiteRuntime(litert, settings=CPUSettings(3))
    TFLiteRuntime(litert, settings=CPUSettings(6, streams=3))
    assert [one.threads for one in FakeInterpreter.made] == [3, 2]


def test_threads_that_call_together_have_an_interpreter_each(litert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoreBudget, "taken", lambda self, cores: nullcontext())
    monkeypatch.setattr(FakeInterpreter, "barrier", threading.Barrier(3))
    runtime, batches, found = TFLiteRuntime(litert, ["mean"]), pictures(3), {}

    def call(index: int) -> None:
        found[index] = float(runtime(batches[index : index + 1])[0][0, 0])

    threads = [threading.Thread(target=call, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(FakeInterpreter.made) == 3
    assert found == pytest.approx({index: picture.mean() for index, picture in enumerate(batches)})
    monkeypatch.setattr(FakeInterpreter, "barrier", None)
    runtime(batches)
    assert len(FakeInterpreter.made) == 3, "idle interpreters are used again"


def test_a_picture_of_another_size_is_refused(litert: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"\(8, 6, 3\), got \(16, 12, 3\).*one size.*openvino"):
        TFLiteRuntime(litert)(np.zeros((1, 16, 12, 3), np.uint8))


def test_a_closed_runtime_cannot_be_called(litert: Path) -> None:
    runtime = TFLiteRuntime(litert)
    runtime.close()
    runtime.close()
    with pytest.raises(MobilePoseError, match="closed"):
        runtime(pictures(1))


def test_another_device_is_refused(litert: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"'GPU' is OpenVINO's.*CPU"):
        open_files("tflite", [litert], CPUSettings(1), "GPU")


def test_without_litert_the_error_names_the_extra(litert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilepose-sdk\[tflite\]'"):
        TFLiteRuntime(litert)


@pytest.mark.parametrize("threads", [-1, 1.5, "many"])
@pytest.mark.parametrize("model", [PoseEstimator, PersonDetector], ids=["estimator", "detector"])
def test_wrong_threads_are_refused(model: type, threads: object) -> None:
    with pytest.raises(InvalidInputError, match="threads must be"):
        model(runtime="tflite", threads=threads)


def test_a_model_without_tflite_files_says_what_it_has() -> None:
    with pytest.raises(ModelNotFoundError, match=r"fake-pose has no files for runtime 'tflite'; it has \{\}"):
        load(make_card(), "tflite", None, 0, "CPU")


@pytest.mark.parametrize("content", [b"", b"<net>", b"\x1c\x00\x00\x00TFL3" + bytes(64)], ids=["empty", "IR", "cut"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.tflite").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"broken\.tflite"):
        TFLiteRuntime(tmp_path / "broken.tflite")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"gone\.tflite cannot be read"):
        TFLiteRuntime(tmp_path / "gone.tflite")


def test_an_unknown_runtime_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(InvalidInputError, match="'onnx'.*openvino, tflite"):
        load(make_card(), "onnx", None, 0, "CPU")

"""Measuring thread settings, and keeping the winner."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from fakes import write_model

from mobilepose_sdk import models, runtimes, tuning, tuning_store
from mobilepose_sdk.cli import main
from mobilepose_sdk.errors import InvalidInputError, MissingDependencyError, ModelFileError, TuningStoreError
from mobilepose_sdk.models import ModelCard
from mobilepose_sdk.threads import CPUSettings, Threads, candidates, settings_for
from mobilepose_sdk.topology import guessed, read_topology
from mobilepose_sdk.tuning import Measurement, best, measure, tune


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache folder in place of the user's."""
    folder = tmp_path / "cache" / "tuning"
    monkeypatch.setattr(tuning_store, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def card(tmp_path) -> ModelCard:
    return ModelCard.read(write_model(tmp_path / "model"))


# Measuring


class Clock:
    """Time that only passes when somebody works."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(tuning, "time", Clock())


class Worker:
    """A runtime that takes eight seconds with one thread, and less with more."""

    def __init__(self, log: list, settings: CPUSettings) -> None:
        self.log, self.settings, self.closed = log, settings, False

    def __call__(self, batch):
        self.log.append(self.settings)
        tuning.time.now += 8 / self.settings.threads
        return [np.zeros((len(batch), 1))]

    def close(self):
        self.closed = True


BATCH = np.zeros((1, 4, 4, 3), np.uint8)


def test_candidates_are_measured_in_turn_and_closed():
    log: list[CPUSettings] = []
    opened: list[Worker] = []
    settings = [CPUSettings(1), CPUSettings(2), CPUSettings(4)]
    measured = measure(settings, lambda one: opened.append(Worker(log, one)) or opened[-1], BATCH, repeats=2)
    assert log == settings * (2 + tuning.WARM_UP)
    assert [row.settings for row in measured] == settings
    assert [row.milliseconds for row in measured] == [8000, 4000, 2000]
    assert all(one.closed for one in opened)


def test_an_unknown_runtime_is_named(card, cache):
    with pytest.raises(InvalidInputError, match="unknown runtime 'onnx'; accepted: openvino, tflite"):
        tune(card, runtime="onnx")


def test_every_stream_works_in_throughput_mode():
    log: list[CPUSettings] = []
    measure([CPUSettings(4, 4)], lambda one: Worker(log, one), BATCH, repeats=1)
    assert len(log) == 4 * (1 + tuning.WARM_UP)


def test_a_runtime_that_fails_closes_the_others():
    opened: list[Worker] = []

    def make(settings):
        if opened:
            raise MemoryError
        opened.append(Worker([], settings))
        return opened[0]

    with pytest.raises(MemoryError):
        measure([CPUSettings(1), CPUSettings(2)], make, BATCH, repeats=1)
    assert opened[0].closed


@pytest.mark.parametrize("streams", [1, 2])
def test_a_runtime_that_fails_at_work_is_not_a_fast_one(monkeypatch, streams):
    opened: list[Worker] = []

    def fail(worker, batch):
        raise ModelFileError("out of memory")

    monkeypatch.setattr(Worker, "__call__", fail)
    with pytest.raises(ModelFileError, match="out of memory"):
        measure([CPUSettings(2, streams)], lambda one: opened.append(Worker([], one)) or opened[-1], BATCH, repeats=1)
    assert opened[0].closed


@pytest.mark.parametrize(("other", "winner"), [(9.6, 0), (9.4, 1), (10.0, 0), (12.0, 0)])
def test_only_a_clear_win_replaces_the_default(other, winner):
    rows = [Measurement(CPUSettings(2), 10.0), Measurement(CPUSettings(1), other)]
    assert best(rows) is rows[winner]


# Keeping the winner


@pytest.fixture
def fast_with_one(monkeypatch):
    """Models that run fastest with one thread, whatever the machine."""

    class Contrary(Worker):
        def __call__(self, batch):
            tuning.time.now += 1 if self.settings == CPUSettings(1) else 5
            return [np.zeros((len(batch), 1))]

    monkeypatch.setattr(tuning, "read_topology", lambda: guessed(4, "toaster"))
    monkeypatch.setattr(runtimes, "read_topology", lambda: guessed(4, "toaster"))
    monkeypatch.setattr(tuning, "open_files", lambda runtime, files, settings, *_: Contrary([], settings))


def test_auto_is_what_tuning_found(cache, card, fast_with_one):
    auto = lambda mode="latency": runtimes.cpu_settings(card, "openvino", "int8", Threads(mode=mode))  # noqa: E731
    assert auto() == CPUSettings(4)
    tuned = tune(card, repeats=2)
    assert tuned.winner.settings == CPUSettings(1)
    assert tuned.path is not None and tuned.path.parent == cache
    assert auto() == CPUSettings(1)
    assert auto("throughput") == CPUSettings(4, 4)  # another question
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads(3)) == CPUSettings(3)  # nobody asked


def test_a_dry_run_keeps_nothing(cache, card, fast_with_one):
    assert tune(card, repeats=1, keep=False).path is None
    assert not cache.exists()


def test_a_finding_is_for_one_cpu_model_runtime_and_mode(card):
    here, files = guessed(4, "toaster"), card.files["openvino"]["int8"]
    keys = [
        tuning_store.key_for(here, files, "openvino", "latency"),
        tuning_store.key_for(replace(here, quota=2.0), files, "openvino", "latency"),
        tuning_store.key_for(guessed(4, "kettle"), files, "openvino", "latency"),
        tuning_store.key_for(here, files[:1], "openvino", "latency"),
        tuning_store.key_for(here, files, "tflite", "latency"),
        tuning_store.key_for(here, files, "openvino", "throughput"),
    ]
    assert len({key.file_name for key in keys}) == len(keys)
    assert keys[0].runtime.split()[1][:2] == "20"  # a version, as 2026.4.1


def test_another_version_of_the_runtime_is_measured_anew(cache, card, monkeypatch):
    key = tuning_store.key_for(guessed(4), card.files["openvino"]["int8"], "openvino", "latency")
    tuning_store.write(key, CPUSettings(3), [])
    assert tuning_store.read(key) == CPUSettings(3)
    monkeypatch.setattr(tuning_store, "runtime_version", lambda runtime: "1.0")
    later = tuning_store.key_for(guessed(4), card.files["openvino"]["int8"], "openvino", "latency")
    assert tuning_store.read(later) is None


GOOD = {"threads": 2, "streams": 1, "pinning": False, "core_type": "any", "hyper_threading": False}
DAMAGED = {
    "empty": "",
    "half": '{"settings": {"threads"',
    "no object": "[1]",
    "binary": "\x00\x01",
    "no settings": {},
    "no thread": {**GOOD, "threads": 0},
    "text": {**GOOD, "threads": "2"},
    "more streams than threads": {**GOOD, "streams": 3},
    "a number as a switch": {**GOOD, "pinning": 1},
    "an unknown core": {**GOOD, "core_type": "fast"},
    "an unknown setting": {**GOOD, "colour": "red"},
    "a list": {**GOOD, "core_type": ["any"]},
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_ignored_and_rewritten(cache, card, fast_with_one, content):
    path = tune(card, repeats=1).path
    assert path is not None
    if isinstance(content, dict):
        content = json.dumps({**json.loads(path.read_text(encoding="utf-8")), "settings": content})
    path.write_text(content, encoding="utf-8")
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads()) == CPUSettings(4)
    assert tune(card, repeats=2).path == path
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads()) == CPUSettings(1)
    assert [file.name for file in cache.iterdir()] == [path.name]  # and nothing half-written beside it


def test_a_folder_that_cannot_be_written_to_is_found_out_before_anything_is_measured(card, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tuning_store, "cache_folder", lambda: tmp_path / "file" / "tuning")
    monkeypatch.setattr(tuning, "measure", lambda *arguments: pytest.fail("measured"))
    with pytest.raises(TuningStoreError, match="cannot keep tuned settings"):
        tune(card, repeats=1)


def test_without_platformdirs_tuning_says_what_to_install_and_auto_goes_on(card, monkeypatch):
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilepose-sdk\[tune\]'"):
        tune(card)
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads()) == settings_for(read_topology(), Threads())


def test_a_user_without_a_home_folder_goes_without_tuned_settings(card, monkeypatch):
    def nowhere(*_, **__):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_cache_path", nowhere)
    with pytest.raises(TuningStoreError, match="no folder for tuned settings: Could not.*set HOME or XDG_CACHE_HOME"):
        tune(card)
    assert runtimes.cpu_settings(card, "openvino", "int8", Threads()) == settings_for(read_topology(), Threads())


def test_the_users_cache_folder_is_platformdirs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tuning_store.cache_folder()
    assert folder.parts[-2:] == ("mobilepose_sdk", "tuning") or sys.platform != "linux"


def test_at_least_one_run_is_needed(card):
    with pytest.raises(InvalidInputError, match="repeats must be at least 1, got 0"):
        tune(card, repeats=0)


# mobilepose tune


@pytest.fixture
def packaged(monkeypatch, tmp_path):
    folder = tmp_path / "prebuilt"
    write_model(folder / "tiny", name="tiny")
    monkeypatch.setattr(models, "prebuilt_folder", lambda: folder)
    models._catalogue.cache_clear()
    yield
    models._catalogue.cache_clear()


def test_the_program_prints_every_candidate_and_marks_the_best(packaged, cache, fast_with_one, capsys):
    assert main(["tune", "tiny", "--mode", "latency", "--repeats", "2"]) == 0
    first, header, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert first == "tiny, latency; toaster: 4 cores, 4 threads"
    assert header.split() == ["settings", "ms", "an", "input", "against", "the", "default"]
    assert {row.split("  ")[0] for row in rows} == {str(one) for one in candidates(guessed(4), "latency")}
    assert [row.split("  ")[0] for row in rows if row.endswith("best")] == ["1 thread, 1 stream"]
    assert len(list(cache.iterdir())) == 1


def test_both_modes_are_tuned_unless_told_otherwise(packaged, cache, fast_with_one, capsys):
    assert main(["tune", "tiny", "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["model"], one["mode"]) for one in found] == [("tiny", "latency"), ("tiny", "throughput")]
    assert len(list(cache.iterdir())) == 2

"""`mobilepose profile`: what is measured, and what is said of it."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakePose, write_model
from round_profiles import ALL, made

from mobilepose_sdk import PoseEstimator, profiling, runtimes
from mobilepose_sdk.errors import (
    InvalidInputError,
    MissingDependencyError,
    ModelNotFoundError,
    OutputError,
    ProfilingError,
)
from mobilepose_sdk.models import find_model
from mobilepose_sdk.profiling import WARM_UP, Configuration, Layer, profile
from mobilepose_sdk.profiling.process import fresh_run, peak_memory
from mobilepose_sdk.profiling.report import as_csv, as_dict, comparison, plot, stage_rows
from mobilepose_sdk.profiling.spread import Spread, warnings_for
from mobilepose_sdk.profiling.stages import STAGES, Watched, top_down_turn
from mobilepose_sdk.samples import sample_boxes, sample_picture
from mobilepose_sdk.sources import read_picture

# The sample picture


def test_the_sample_is_the_same_for_everybody():
    picture = read_picture(sample_picture())
    assert picture.shape == (512, 512, 3)
    np.testing.assert_array_equal(sample_boxes(3)[:2], sample_boxes(2))
    assert sample_boxes(4).shape == (4, 4)
    assert (sample_boxes(50)[:, 2:] > sample_boxes(50)[:, :2] + 200).all()


def test_the_sample_is_part_of_the_package():
    from mobilepose_sdk import samples

    assert (Path(samples.__file__).parent / samples.NAME).is_file()


# Statistics


def test_a_spread_is_the_median_and_two_percentiles():
    spread = Spread.of(range(101))
    assert (spread.median, spread.p90, spread.p99) == (50, 90, 99)
    assert spread.fps == 20


def test_a_calm_run_has_no_warning():
    assert warnings_for([10, 10.4, 9.9] * 20) == []


def test_a_wide_spread_is_called_noisy():
    (warning,) = warnings_for([10, 10, 10, 10, 25] * 12)
    assert warning.startswith("noisy: the slowest tenth took over 2.5 times the median")


def test_a_run_that_becomes_slower_is_called_slowing_down():
    (warning,) = warnings_for(np.linspace(10, 14, 60))
    assert warning.startswith("slowing down: the last third took 1.25")


def test_few_runs_are_not_judged():
    assert warnings_for([1, 100, 1, 100]) == []


# Stages


def test_the_stopwatch_splits_what_is_before_in_and_behind_the_network(monkeypatch):
    ticks = iter([2.0, 5.0, 6.0, 6.5])
    monkeypatch.setattr(profiling.stages.time, "perf_counter", lambda: next(ticks))
    watched = Watched(lambda batch: batch)
    watched("first")
    watched("second")
    found = watched.stages(start=1.0, end=10.0)
    assert found == {"prepare": 1000, "infer": 3500, "decode heatmaps": 4500}


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """An estimator and a detector that are fake; the batches its network saw."""
    network = FakePose()
    monkeypatch.setattr(runtimes, "load", lambda *options: network)
    calls = []
    detector = lambda image: calls.append(image.shape) or np.zeros((0, 4))  # noqa: E731
    return PoseEstimator(write_model(tmp_path / "pose"), detector=detector), network, calls


@pytest.mark.parametrize("people", [1, 3])
def test_a_turn_runs_every_stage_once_with_as_many_people_as_asked(fake, people):
    estimator, network, detected = fake
    measured = top_down_turn(estimator, people)()
    assert tuple(measured) == STAGES
    assert all(milliseconds >= 0 for milliseconds in measured.values())
    assert network.batches == [people]
    assert detected == [(512, 512, 3)]


# Whole profiles


@pytest.fixture
def turns(monkeypatch):
    """Stages that take what the configuration says: ``batch`` ms each; the order of the turns."""
    order: list[int] = []

    class Opened:
        def __init__(self, one):
            self.one = one

        def __enter__(self):
            return lambda: order.append(self.one.batch) or dict.fromkeys(STAGES, float(self.one.batch))

        def __exit__(self, *error):
            order.append(-self.one.batch)

    monkeypatch.setattr(profiling, "open_stages", Opened)
    monkeypatch.setattr(profiling, "_slowest_layers", lambda card, one: [("conv", "brgconv", 0.5)])
    return order


def test_configurations_are_run_in_turn_and_the_warm_up_does_not_count(turns):
    seen = []
    first, second = profile(
        [Configuration(batch=1), Configuration(batch=2)],
        repeats=3,
        fresh=False,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert turns == [1, 2] * (3 + WARM_UP) + [-2, -1]
    assert (first.stages["infer"], second.stages["infer"]) == (Spread(1, 1, 1), Spread(2, 2, 2))
    assert second.stages["total"].median == 2 * len(STAGES)
    assert seen[-1] == (3 + WARM_UP, 3 + WARM_UP)


def test_a_profile_says_what_was_measured(turns):
    (found,) = profile([Configuration("lpn-50", threads=1)], repeats=1, fresh=False)
    card = find_model("lpn-50", "pose")
    precision = card.precisions["openvino"][0]
    assert found.configuration.precision == precision
    assert found.settings == "1 thread, 1 stream"
    assert found.model_bytes == sum(file.bytes for file in card.files["openvino"][precision])
    assert found.layers == (Layer("conv", "brgconv", 0.5),)


@pytest.mark.parametrize(
    ("configurations", "repeats"),
    [([], 1), ([Configuration()], 0), ([Configuration(batch=0)], 1), ([Configuration(threads=-1)], 1)],
)
def test_nothing_to_measure_is_refused(configurations, repeats):
    with pytest.raises(InvalidInputError, match="at least 1"):
        profile(configurations, repeats=repeats)


def test_an_unknown_model_is_refused():
    with pytest.raises(ModelNotFoundError, match="no pose model 'huge'"):
        profile([Configuration("huge")])


def test_a_real_model_is_profiled_with_its_layers():
    (found,) = profile([Configuration(threads=1, batch=2)], repeats=1, fresh=False)
    assert tuple(found.stages) == ALL
    assert len(found.layers) == 10
    times = [layer.milliseconds for layer in found.layers]
    assert times == sorted(times, reverse=True) and times[-1] > 0


# A new process


def test_a_fresh_process_tells_cold_start_and_peak_memory():
    run = fresh_run({"threads": 1})
    assert run.cold_start > 0.05  # Python alone takes longer
    assert 50e6 < run.peak_memory < 4e9


@pytest.mark.parametrize("model", ["lpn-50", "efficienthrnet-h-4"])
def test_a_fresh_process_finds_a_folder_named_from_here(model, tmp_path, monkeypatch):
    shutil.copytree(find_model(model).folder, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    (found,) = profile([Configuration("mine", threads=1)], repeats=1)
    assert found.fresh is not None and found.fresh.cold_start > 0.05


def test_what_was_timed_stands_without_the_fresh_process(monkeypatch):
    def fail(arguments):
        raise ProfilingError("no memory left")

    monkeypatch.setattr(profiling, "fresh_run", fail)
    (found,) = profile([Configuration("lpn-50", threads=1)], repeats=1)
    assert found.fresh is None and "no memory left" in found.warnings
    assert found.stages["total"].median > 0


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory()
    held = np.ones(200_000_000, np.uint8)
    assert peak_memory() >= before
    assert peak_memory() > held.nbytes


def test_a_fresh_process_that_fails_says_why():
    with pytest.raises(ProfilingError, match=r"ended with code 1: .*no pose model 'huge'"):
        fresh_run({"model": "huge"})


# Reports


def test_rows_are_stages_with_percentiles_and_fps():
    rows = stage_rows(made("int8"))
    assert [row[0] for row in rows] == list(ALL)
    assert rows[1] == ("detect", "2.00", "4.00", "6.00", "500")


def test_a_comparison_is_ratios_to_the_first():
    header, rows = comparison([made("int8"), made("fp16", 2.0)])
    assert header[1:] == ["lpn-50 openvino int8, 2 threads, batch 1", "lpn-50 openvino fp16, 2 threads, batch 1"]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["infer"] == ["4.00 (1.00×)", "8.00 (0.50×)"]
    assert cells["cold start"] == ["0.50 s (1.00×)", "1.00 s (0.50×)"]
    assert cells["peak memory"] == ["200 MB (1.00 of it)", "200 MB (1.00 of it)"]
    assert cells["model size"] == ["4.0 MB (1.00 of it)", "8.0 MB (2.00 of it)"]


def test_a_comparison_leaves_blank_what_a_model_does_not_have():
    one, other = made("int8"), made("fp16", fresh=False)
    del other.stages["detect"]
    _, rows = comparison([one, other])
    cells = {row[0]: row[1:] for row in rows}
    assert cells["detect"] == ["2.00 (1.00×)", "–"]
    assert "cold start" not in cells


def test_json_holds_everything():
    content = json.loads(json.dumps(as_dict([made("int8")], "a machine")))
    (entry,) = content["profiles"]
    assert content["machine"] == "a machine"
    assert entry["stages"]["infer"] == {"median": 4, "p90": 8, "p99": 12, "fps": 250}
    assert entry["fresh"] == {"cold_start": 0.5, "peak_memory": 200_000_000}
    assert entry["layers"] == [{"name": "conv", "kind": "brgconv", "milliseconds": 0.5}]


def test_csv_is_a_row_a_stage():
    rows = list(csv.DictReader(as_csv([made("int8"), made("fp16", 2.0)]).splitlines()))
    assert len(rows) == 2 * len(ALL)
    assert rows[3] == {
        "model": "lpn-50",
        "runtime": "openvino",
        "precision": "int8",
        "threads": "2",
        "batch": "1",
        "stage": "infer",
        "median_ms": "4.0000",
        "p90_ms": "8.0000",
        "p99_ms": "12.0000",
        "fps": "250.0000",
    }


def test_a_plot_is_a_picture(tmp_path):
    plot([made("int8"), made("fp16", 2.0)], tmp_path / "latency.png", "a machine")
    picture = cv2.imread(str(tmp_path / "latency.png"))
    assert picture.shape[1] > 500
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > len(STAGES)


def test_a_plot_that_cannot_be_written_is_a_typed_error(tmp_path):
    for name in ("missing/latency.png", "latency.nonsense"):
        with pytest.raises(OutputError, match="cannot write the plot"):
            plot([made("int8")], tmp_path / name, "a machine")


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilepose-sdk\[plot\]'"):
        plot([made("int8")], tmp_path / "latency.png", "a machine")

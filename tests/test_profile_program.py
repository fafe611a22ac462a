"""`mobilepose profile`: what it asks for, prints and writes."""

from __future__ import annotations

import json
import sys

import pytest
from round_profiles import made

from mobilepose_sdk import profiling
from mobilepose_sdk.cli import main


@pytest.fixture
def asked(monkeypatch):
    """The configurations that were asked for; nothing is measured."""
    found: list = []

    def answer(configurations, **options):
        found.append((configurations, options))
        return [made(one.precision or "int8", 1.0 + number) for number, one in enumerate(configurations)]

    monkeypatch.setattr(profiling, "profile", answer)
    return found


def test_lists_are_profiled_in_every_combination(asked):
    assert main(["profile", "lpn-50", "--precision", "int8,fp16", "--threads", "1,auto", "--batch", "1,4"]) == 0
    (configurations, options) = asked[0]
    assert [(one.precision, one.threads, one.batch) for one in configurations] == [
        (precision, threads, batch) for precision in ("int8", "fp16") for threads in (1, 0) for batch in (1, 4)
    ]
    assert (options["repeats"], options["fresh"]) == (50, True)


@pytest.mark.parametrize("wrong", [["--threads", "0"], ["--batch", "two"], ["--threads", "1,,2"], ["--repeats", "0"]])
def test_what_is_no_number_is_refused(asked, wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["profile", *wrong])
    assert stopped.value.code == 2
    assert "a whole number of at least 1" in capsys.readouterr().err
    assert not asked


def test_the_program_prints_stages_layers_and_facts(asked, capsys):
    main(["profile", "--no-fresh"])
    printed = capsys.readouterr().out
    for text in ("decode picture", "NMS", "total", "p99", "slowest layers", "brgconv", "model size 4.0 MB"):
        assert text in printed
    assert "cold start 0.50 s, peak memory 200 MB" in printed
    assert asked[0][1]["fresh"] is False


def test_the_program_compares_and_writes_files(asked, capsys, tmp_path):
    names = {option: tmp_path / f"latency.{option}" for option in ("json", "csv")}
    options = [text for option, path in names.items() for text in (f"--{option}", str(path))]
    plotted = tmp_path / "latency.png"
    assert main(["profile", "--precision", "int8,fp16", "--compare", *options, "--plot", str(plotted)]) == 0
    assert "(0.50×)" in capsys.readouterr().out
    assert len(json.loads(names["json"].read_text(encoding="utf-8"))["profiles"]) == 2
    assert names["csv"].read_text(encoding="utf-8").startswith("model,runtime")
    assert plotted.stat().st_size > 1000


@pytest.mark.parametrize("option", ["--json", "--csv", "--plot"])
def test_a_file_that_cannot_be_written_is_found_out_before_anything_is_measured(asked, capsys, tmp_path, option):
    assert main(["profile", option, str(tmp_path / "none" / "latency.png")]) == 3
    assert "cannot write" in capsys.readouterr().err
    assert not asked


def test_so_is_that_nothing_can_be_drawn(asked, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["profile", "--plot", str(tmp_path / "latency.png")]) == 3
    assert not asked


def test_a_warning_goes_to_stderr(monkeypatch, capsys):
    noisy = made("int8")
    object.__setattr__(noisy, "warnings", ("noisy: a neighbour",))
    monkeypatch.setattr(profiling, "profile", lambda *_, **__: [noisy])
    main(["profile"])
    assert "noisy: a neighbour" in capsys.readouterr().err

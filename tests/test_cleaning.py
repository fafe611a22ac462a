"""Labels that a trained network contradicts lose their trust, and missing ones are filled in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from converters.data import read_data
from converters.training import command
from converters.training.cleaning import Doubt, Guess, cleaned_weights, filled_labels
from converters.training.people import people_of, read_labels


@pytest.mark.parametrize(
    ("look", "second", "confidence", "kept"),
    [
        ((50, 50), (50, 50), 0.9, 0.0),  # both looks see it elsewhere
        ((12, 10), (12, 10), 0.9, 1.0),  # both see it about where the label is
        ((50, 50), (70, 70), 0.9, 1.0),  # they do not agree
        ((50, 50), (50, 50), 0.2, 1.0),  # they are not sure
    ],
)
def test_a_label_loses_trust_only_where_both_looks_surely_contradict_it(look, second, confidence, kept) -> None:
    labels = np.array([[[10.0, 10.0]]])
    looks = np.array([[[look]], [[second]]], dtype=float)
    weights = cleaned_weights(labels, np.ones((1, 1)), looks, np.full((2, 1, 1), confidence), np.array([100.0]))
    assert weights.tolist() == [[kept]]


def test_contradicted_labels_can_keep_a_part_of_their_trust() -> None:
    looks = np.full((2, 1, 1, 2), 50.0)
    args = (np.zeros((1, 1, 2)), np.full((1, 1), 0.5), looks, np.ones((2, 1, 1)), np.array([100.0]))
    assert cleaned_weights(*args, Doubt(trust=0.5)).tolist() == [[0.25]]


@pytest.mark.parametrize(
    ("second", "confidence", "size", "weight", "new"),
    [
        ((50, 52), 0.9, 100, 0.0, True),
        ((50, 60), 0.9, 100, 0.0, False),  # the looks do not agree
        ((50, 52), 0.1, 100, 0.0, False),  # they are not sure
        ((50, 50.5), 0.9, 30, 0.0, False),  # the person is too small to be seen well
        ((50, 52), 0.9, 100, 0.5, False),  # it has a label
    ],
)
def test_a_label_is_new_only_where_there_is_none_and_both_looks_agree(second, confidence, size, weight, new) -> None:
    looks = np.array([[[(50, 50)]], [[second]]], dtype=float)
    labels, weights = filled_labels(
        np.array([[[10.0, 10.0]]]), np.full((1, 1), weight), looks, np.full((2, 1, 1), confidence), np.array([size])
    )
    assert weights.tolist() == [[Guess().trust if new else weight]]
    assert np.allclose(labels, [[[50, (50 + second[1]) / 2] if new else [10, 10]]])


def test_cleaning_writes_the_labels_that_training_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(crops: Tensor) -> Tensor:
        """Sees every keypoint in the middle of its crop."""
        heatmaps = torch.zeros(len(crops), 17, crops.shape[2] // 4, crops.shape[3] // 4)
        heatmaps[:, :, heatmaps.shape[2] // 2, heatmaps.shape[3] // 2] = 1.0
        return heatmaps

    monkeypatch.setattr(command, "find_teacher", lambda name: stubborn)
    said = command.clean("lpn-50", folder, folder / "labels.json")
    people = people_of(read_data(folder / "train.json"))
    far = np.stack([np.linalg.norm(person.keypoints - 80, axis=1) for person in people])
    size = 110  # the boxes' side; labels within a pixel of the limit may fall either way
    labels = read_labels(folder / "labels.json")
    triples = np.stack([labels[person.id] for person in people])
    middle = np.linalg.norm(triples[..., :2] - 80, axis=2) < 3
    doubted, kept = far > 0.2 * size + 1, far < 0.2 * size - 1
    assert middle[doubted].all() and (triples[doubted, 2] == 0.5).all()
    assert (triples[kept, 2] == 1).all()
    assert np.allclose(triples[kept, :2], np.stack([p.keypoints for p in people])[kept], atol=0.01)
    assert said.startswith(f"{(triples[..., 2] < 1).sum()} of 102 labels of 6 people are contradicted")
    again = people_of(read_data(folder / "train.json"), labels=labels)
    assert np.array_equal(np.stack([p.keypoints for p in again]), triples[..., :2])
    assert np.array_equal(np.stack([p.weights for p in again]), triples[..., 2])

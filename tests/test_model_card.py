"""A model's README says what its weights were made from, and is what its card makes it."""

import pytest

from converters.model_card import _start, markdown
from mobilepose_sdk.models import list_models


def after(*samples, start=None):
    """The facts of a run that went on from others."""
    facts = start
    for count in samples:
        facts = {"samples": count, "before": facts}
    return {"before": facts}


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (after(), "from random weights"),
        (after(1000), "after an earlier run of 1,000 samples from random weights"),
        (after(1000, 20, 3), "after earlier runs of 1,000, 20 and 3 samples, the first from random weights"),
        (after(start={"checkpoint": "a.pth"}), "from the checkpoint a.pth"),
        (after(7, start={"checkpoint": "a.pth"}), "after an earlier run of 7 samples from the checkpoint a.pth"),
    ],
)
def test_a_run_says_what_it_went_on_from(training, said):
    assert _start(training) == said


@pytest.mark.parametrize("card", list_models(), ids=lambda card: card.name)
def test_a_models_readme_is_its_cards(card):
    assert (card.folder / "README.md").read_text(encoding="utf-8") == markdown(card)

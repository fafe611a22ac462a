"""The page of accuracies and latencies is written from cards and runs."""

from converters import report
from mobilepose_sdk.models import find_model, list_models


def test_the_page_has_cards_whole_pictures_and_latencies(folder, tmp_path, monkeypatch):
    card, detector = find_model("mobileposenet-256x192", "pose"), find_model("person-detector", "detector")
    untrained = next(card for card in list_models() if card.name == "elpn-v2")
    monkeypatch.setattr(report, "list_models", lambda: [card, detector, untrained])
    page = report.write_report(folder, threads=1, repeats=1, path=tmp_path / "accuracy.md").read_text("utf-8")
    given = card.accuracy["openvino-int8"]
    assert f"| {card.name} | openvino int8 | {given['PCK@0.2']:.3f} | {given['AP']:.3f} |" in page
    assert f"| {card.name} | person-detector | 0.000 | 0.000 |" in page  # the pictures show dots, no people
    assert f"| {detector.name} | tflite int8 | {detector.accuracy['tflite-int8']['AP50']:.3f} |" in page
    assert page.count("| elpn-v2 |") == 1
    assert f"| AP {100 * given['AP']:.1f} on our 82 people |" in page
    assert "not trained" in page

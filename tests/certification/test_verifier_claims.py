"""A claim that is stronger than the votes allow is named; a weaker one is a warning."""

import numpy as np
import pytest

from mmcert.certification.verifier.verify import verify

SEGMENTATION = ["bonferroni", "holm", "closed_evalues", "binomial"]
METRICS = [
    "certified_pixel_accuracy",
    "certified_recall",
    "certified_precision",
    "certified_f_score",
    "certified_iou",
]


@pytest.fixture
def segmentation(edit_run):
    return edit_run("segmentation")


@pytest.fixture
def classification(edit_run):
    return edit_run("classification")


def raised(metric, by):
    def change(entry):
        entry["grid"][3][metric] += by

    return change


@pytest.mark.parametrize("statistics", SEGMENTATION)
@pytest.mark.parametrize("metric", METRICS)
def test_a_figure_raised_by_a_millionth_is_named(segmentation, statistics, metric):
    segmentation.entry(raised(metric, 1e-6), statistics)
    (failure,) = verify(segmentation.run).failed["metrics"]
    assert statistics in failure
    assert f"{{'rgb': 1, 'depth': 0}}: {metric} claimed" in failure


@pytest.mark.parametrize("statistics", ["binomial", "margin", "holm", "closed_evalues"])
@pytest.mark.parametrize("claim", ["robust", "stable"])
def test_a_rate_raised_by_a_millionth_is_named(classification, statistics, claim):
    metric = {"robust": "certified_accuracy", "stable": "stable_rate"}[claim]
    classification.entry(raised(metric, 1e-6), statistics, claim)
    (failure,) = verify(classification.run).failed["metrics"]
    assert f"{statistics} {claim}" in failure
    assert metric in failure


def test_a_figure_raised_by_one_float_is_named(segmentation):
    def change(entry):
        value = entry["grid"][3]["certified_iou"]
        entry["grid"][3]["certified_iou"] = float(np.nextafter(value, 2))

    segmentation.entry(change, "holm")
    assert len(verify(segmentation.run).failed["metrics"]) == 1


def test_fewer_abstentions_are_named(segmentation):
    def change(entry):
        entry["grid"][0]["abstain_rate"] = 0.0

    segmentation.entry(change, "binomial", "stable")
    (failure,) = verify(segmentation.run).failed["metrics"]
    assert "abstain_rate claimed 0.0" in failure


def test_a_figure_that_is_lower_than_it_could_be_is_a_warning(segmentation):
    segmentation.entry(raised("certified_iou", -1e-6), "holm")
    findings = verify(segmentation.run)
    assert findings.all_hold
    assert len(findings.warned["metrics"]) == 1


@pytest.mark.parametrize("figure", [float("nan"), "0.9", True])
def test_a_figure_that_is_no_number_is_named(classification, figure):
    def change(entry):
        entry["grid"][0]["certified_accuracy"] = figure

    classification.entry(change, "binomial")
    assert not verify(classification.run).all_hold


def test_a_figure_that_nobody_knows_is_named(classification):
    def change(entry):
        entry["grid"][0]["certified_radius"] = 7

    classification.entry(change, "binomial")
    assert "certified_radius" in verify(classification.run).failed["metrics"][0]


@pytest.mark.parametrize("statistics", ["binomial", "margin"])
def test_a_lower_bound_that_was_raised_is_named(classification, statistics):
    def change(rows):
        row = max(
            (row for row in rows if row["statistics"] == statistics),
            key=lambda row: row["lower_bound"],
        )
        row["lower_bound"] += 0.01

    classification.rows(change)
    (failure,) = verify(classification.run).failed["certificates"]
    assert "lower_bound" in failure


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_a_frontier_that_was_enlarged_is_named(edit_run, task):
    def change(rows):
        (row, *_) = (row for row in rows if row["frontier"])
        row["frontier"] = [[("rgb", 9), ("depth", 20)]]

    edit = edit_run(task)
    edit.rows(change)
    (failure,) = verify(edit.run).failed["certificates"]
    assert "frontier: {'rgb': 9, 'depth': 20} is claimed" in failure


def test_a_frontier_of_claims_for_each_budget_is_named(classification):
    def change(rows):
        (row, *_) = (row for row in rows if row["statistics"] == "holm")
        row["frontier"] = [[("rgb", 0), ("depth", 0)]]

    classification.rows(change)
    (failure,) = verify(classification.run).failed["certificates"]
    assert "each budget by itself" in failure


def test_a_sample_that_no_longer_abstains_is_named(tmp_path, make_votes, write_run_of, edit_run):
    edit = edit_run("classification")
    votes = make_votes("classification", [([50, 50], 0), ([0, 100], 1)])
    edit.run = tmp_path / "tied"
    write_run_of(edit.run, votes)
    edit.rows(lambda rows: rows[0].update(abstained=False))
    (failure,) = verify(edit.run).failed["certificates"]
    assert "abstained is False" in failure


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_pixel_of_a_map_is_named(segmentation, value):
    def change(pixels):
        y, x = np.argwhere(pixels == 254)[0]  # not certified
        pixels[y, x] = value

    segmentation.map("s2", change)
    (failure,) = verify(segmentation.run).failed["maps"]
    assert failure.startswith("maps/s2.png: 1 pixels")
    assert f"claimed {value}, derived 254" in failure


def test_a_pixel_that_abstains_needlessly_is_a_warning(segmentation):
    def change(pixels):
        y, x = np.argwhere(pixels == 1)[0]
        pixels[y, x] = 254

    segmentation.map("s2", change)
    findings = verify(segmentation.run)
    assert findings.all_hold
    assert len(findings.warned["maps"]) == 1


def test_a_missing_and_a_foreign_map_are_named(segmentation):
    maps = segmentation.run / "maps"
    (maps / "s0.png").rename(maps / "other.png")
    failures = verify(segmentation.run).failed["maps"]
    assert ["s0.png is missing" in line or "other.png" in line for line in failures] == [True] * 2


def test_the_budget_of_the_maps_is_what_they_show(segmentation):
    segmentation.json("metrics.json", lambda document: document["maps"]["budget"].update(rgb=2))
    assert any("states budget" in line for line in verify(segmentation.run).failed["maps"])

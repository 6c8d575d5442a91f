"""Class by class: the shares must add up to the figure of all classes, and promise no more."""

import html
import json

import numpy as np
import pytest
from PIL import Image

from mmcert.errors import RecordError
from mmcert.records.certificates import read_certificates, write_certificates
from mmcert.reporting.class_pictures import class_pictures
from mmcert.reporting.classes import class_curves, class_matrices, matrix_budgets
from mmcert.reporting.figures.classes import percent
from mmcert.reporting.html import render
from mmcert.reporting.publish import publish
from mmcert.reporting.rays import Ray
from mmcert.reporting.report import build_report

DIGITS = ("nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture(scope="module")
def pair(tmp_path_factory, classification_run):
    root = tmp_path_factory.mktemp("classes")
    return [
        classification_run(
            root / name, name, samples=30, seed=seed, statistics=("binomial",), class_names=DIGITS
        )
        for seed, name in enumerate(("mmcert", "randomized_ablation"))
    ]


def test_the_classes_add_up_to_the_certified_accuracy_at_every_budget(pair):
    report = build_report(pair)
    for run in report.runs:
        result = run.result(report.main)
        budgets = list(result.values)
        curves = class_curves(run, report.main, budgets)
        assert [curve.samples for curve in curves] == [3] * 10
        for i, budget in enumerate(budgets):
            total = sum(curve.certified[i] for curve in curves)
            assert total / 30 == pytest.approx(result.value(budget, report.metric), abs=1e-12)
        assert any(0 < sum(curve.certified[i] for curve in curves) < 30 for i in range(5))


def test_a_share_of_a_class_is_never_rounded_up(pair):
    report = build_report(pair)
    for curve in class_curves(report.runs[0], report.main, report.ray.budgets):
        for count, share in zip(curve.certified, curve.accuracy, strict=True):
            assert 3 * share <= count


def test_what_is_right_is_rounded_down_and_all_else_up():
    assert [percent(2, 3, right=True), percent(2, 3, right=False)] == ["66", "67"]
    assert [percent(29, 100, right=True), percent(29, 100, right=False)] == ["29", "29"]
    assert [percent(999, 1000, right=True), percent(1, 1000, right=False)] == ["99", "1"]


def test_the_diagonal_never_holds_more_than_the_robust_claim_of_the_true_label(pair):
    report = build_report(pair)
    for run in report.runs:
        budgets = list(run.result(report.main).values)
        curves = class_curves(run, report.main, budgets)
        matrices = class_matrices(run, report.main, budgets)
        assert len(matrices) == len(budgets)
        for i, matrix in enumerate(matrices):
            assert matrix.samples == (3,) * 10
            for curve in curves:
                assert matrix.labels[curve.label][curve.label] <= curve.certified[i]
        assert any(0 < sum(matrix.abstained) < 30 for matrix in matrices)


def test_the_budgets_of_the_matrices_are_fixed_before_the_votes(pair):
    ray = build_report(pair).ray
    assert matrix_budgets(ray) == [(0, 0), ray.budgets[1]]  # a short ray shows an attack too
    long = Ray(("a",), (1,), tuple((r,) for r in range(14)))
    assert matrix_budgets(long) == [(0,), (4,)]


def test_the_report_shows_every_class_by_its_name_and_says_what_is_promised(pair, tmp_path):
    text = html.unescape(publish(build_report(pair), tmp_path).read_text(encoding="utf-8"))
    for name in ("per_class", "confusion"):
        file = tmp_path / "figures" / f"{name}_binomial_per_sample_joint.png"
        assert np.asarray(Image.open(file).convert("L")).std() > 10
    assert all(f'<th scope="row">{name}</th>' in text for name in DIGITS)
    assert "nothing is promised of the class as a population" in text
    assert "the ensemble gives that label under every attack within the budget" in text
    assert "chosen without looking at the truth" in text
    assert "the diagonal is rounded down, all else up" in text
    assert "nought: right" in text


def test_a_run_without_names_numbers_its_classes(tmp_path, classification_run):
    run = classification_run(tmp_path / "run", samples=10, statistics=("margin",))
    pictures = class_pictures(build_report([run]), tmp_path / "out")
    assert all("class 9" in picture.alt for picture in pictures)


def test_options_that_quote_no_budgets_of_a_sample_have_a_matrix_and_no_curves(
    tmp_path, classification_run
):
    run = classification_run(tmp_path / "run", samples=10, statistics=("holm",))
    pictures = class_pictures(build_report([run]), tmp_path)
    assert [picture.name for picture in pictures] == ["confusion_holm_dataset"]


def test_a_number_for_the_data_set_alone_says_nothing_of_classes(tmp_path, classification_run):
    run = classification_run(tmp_path / "run", samples=10, statistics=("closed_evalues",))
    assert class_pictures(build_report([run]), tmp_path) == []


def test_a_road_has_no_confusion_of_samples(tmp_path, segmentation_run):
    run = segmentation_run(tmp_path / "run", ids=("a",), statistics=("holm",))
    assert build_report([run]).class_tables() == {}


def test_a_class_that_does_not_exist_is_refused(tmp_path, classification_run):
    folder = classification_run(tmp_path / "run", samples=10, statistics=("binomial",))
    rows, facts = read_certificates(folder / "certificates.parquet")
    object.__setattr__(rows[4], "target", 10)
    write_certificates(folder / "certificates.parquet", rows, facts)
    with pytest.raises(RecordError, match=r"clip_004.*true class 10"):
        class_pictures(build_report([folder]), tmp_path / "out")


def test_names_that_hold_markup_are_shown_and_never_run(tmp_path, classification_run):
    names = ("<script>alert(1)</script>", r"$\frac{sad", *DIGITS[2:])
    run = classification_run(
        tmp_path / "run", samples=10, statistics=("binomial",), class_names=names
    )
    report = build_report([run])
    text = render(report, class_pictures(report, tmp_path / "out"))
    assert "<script" not in text
    assert html.escape(names[0]) in text


def test_an_unknown_setting_in_metrics_json_is_refused_and_not_guessed(
    tmp_path, classification_run
):
    folder = classification_run(tmp_path / "run", samples=10, statistics=("margin",))
    metrics = json.loads((folder / "metrics.json").read_text())
    for result in metrics["results"]:
        result["reading"]["method"] = "hopeful"
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RecordError, match="method must be auto"):
        class_pictures(build_report([folder]), tmp_path / "out")

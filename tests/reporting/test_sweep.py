"""Runs of a sweep, found by a pattern, shown against the setting that was swept."""

import numpy as np
import pytest
from PIL import Image

from mmcert.errors import RecordError
from mmcert.reporting.figures.style import run_styles
from mmcert.reporting.loading import load_runs, matching
from mmcert.reporting.publish import publish
from mmcert.reporting.report import build_report
from mmcert.reporting.sweep import find_sweep

SCHEMES = ("mmcert", "randomized_ablation", "randomized_ablation_aligned")


@pytest.fixture(scope="module")
def swept(tmp_path_factory, segmentation_run):
    """Three schemes at three totals, in the numbered folders of a sweep; and what lies beside."""
    root = tmp_path_factory.mktemp("retained")
    for number in range(9):
        k = {"rgb": 100 + 80 * (number // 3), "depth": 40}
        segmentation_run(root / f"{number + 5}", SCHEMES[number % 3], k=k, statistics=("holm",))
    (root / "figures").mkdir()
    (root / "multirun.yaml").write_text("{}")
    return root


def test_a_pattern_names_the_runs_of_a_sweep_in_their_order(swept):
    assert [path.name for path in matching(f"{swept}/*")] == [str(n) for n in range(5, 14)]
    with pytest.raises(RecordError, match="no run directory matches"):
        matching(f"{swept}/figures/*")


def test_a_job_that_did_not_finish_is_not_passed_over(tmp_path, swept):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "run.json").write_text("{}")
    with pytest.raises(RecordError, match="no finished run directory"):
        load_runs([f"{swept}/*", f"{tmp_path}/*"])


def test_the_swept_setting_is_the_one_that_varies_within_a_scheme(
    swept, segmentation_run, tmp_path
):
    report = build_report([f"{swept}/*"])
    assert report.sweep.name == "elements retained per draw"
    # The baselines keep the same total, aligned ones in equal parts.
    assert report.sweep.values == (140, 140, 140, 220, 220, 220, 300, 300, 300)
    assert report.sweep.settings == [140, 220, 300]
    other = segmentation_run(tmp_path / "other", draws=200, statistics=("holm",))
    # Now draws and counts vary: no one setting is to blame for a difference.
    assert find_sweep(load_runs([f"{swept}/*", other]), report.main) is None
    pair = load_runs([swept / "5", swept / "6"])
    assert find_sweep(pair, report.main) is None


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ([{"draws": 100}, {"draws": 300}], "draws N"),
        ([{"alpha": 0.01}, {"alpha": 0.001}], "failure probability alpha"),
    ],
)
def test_draws_and_alpha_are_swept_too(tmp_path, segmentation_run, settings, name):
    for number, one in enumerate(settings):
        segmentation_run(tmp_path / str(number), statistics=("holm",), **one)
    sweep = build_report([f"{tmp_path}/*"]).sweep
    assert sweep.name == name
    assert sweep.logarithmic


def test_each_baseline_is_compared_at_its_own_setting(swept):
    report = build_report([f"{swept}/*"])
    pairs = [(c.reference.retained, c.other.retained) for c in report.comparisons[report.main]]
    assert pairs == [(total, total) for total in (140, 140, 220, 220, 300, 300)]


def test_a_sweep_has_its_figure_and_every_line_its_look(swept, tmp_path):
    report = build_report([f"{swept}/*"], ray={"rgb": 1, "depth": 2})
    text = publish(report, tmp_path).read_text(encoding="utf-8")
    pixels = np.asarray(Image.open(tmp_path / "figures" / "sweep_holm_per_sample.png").convert("L"))
    assert pixels.std() > 10
    assert "against the elements retained per draw" in text
    styles = run_styles(report.runs)
    assert len({(style["color"], style["marker"], style["linestyle"]) for style in styles}) == 9
    assert len({style["marker"] for style in styles}) == 3

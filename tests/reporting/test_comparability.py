import pytest

from mmcert.errors import ConfigError
from mmcert.reporting.report import build_report


def test_two_tasks_are_not_comparable(tmp_path, pair, classification_run):
    other = classification_run(tmp_path / "digits", samples=4)
    with pytest.raises(ConfigError, match=r"not comparable.*task segmentation.*classification"):
        build_report([pair[0], other], allow_differences=True)


def test_another_basic_element_is_not_comparable(tmp_path, pair, segmentation_run):
    other = segmentation_run(
        tmp_path / "o", elements={"rgb": "patch of 4 pixels", "depth": "pixel"}
    )
    with pytest.raises(ConfigError, match="basic element"):
        build_report([pair[0], other], allow_differences=True)


def test_other_modalities_are_not_comparable(tmp_path, pair, segmentation_run):
    grid = [{"rgb": 0}, {"rgb": 1}]
    other = segmentation_run(tmp_path / "o", k={"rgb": 200}, grid=grid)
    with pytest.raises(ConfigError, match="modalities"):
        build_report([pair[0], other])


def test_another_threat_is_not_comparable(tmp_path, pair, segmentation_run):
    other = segmentation_run(tmp_path / "o", kinds="deletion")
    with pytest.raises(ConfigError, match="threat"):
        build_report([pair[0], other])


def test_other_test_samples_are_refused_unless_meant_and_then_stated(
    tmp_path, pair, segmentation_run
):
    other = segmentation_run(tmp_path / "o", "randomized_ablation", ids=("um_000001", "um_000009"))
    with pytest.raises(ConfigError, match=r"allow_differences=true"):
        build_report([pair[0], other])
    report = build_report([pair[0], other], allow_differences=True)
    assert any("Not the same test samples" in warning for warning in report.warnings)


def test_the_same_ids_over_other_data_are_noticed(tmp_path, pair, segmentation_run):
    other = segmentation_run(tmp_path / "o", "randomized_ablation", data_seed=1)
    with pytest.raises(ConfigError, match="same id but another size or other labels"):
        build_report([pair[0], other])


def test_another_alpha_and_number_of_draws_are_stated(tmp_path, pair, segmentation_run):
    other = segmentation_run(tmp_path / "o", draws=200, alpha=0.05, k={"rgb": 150, "depth": 40})
    warnings = " ".join(build_report([pair[0], other]).warnings)
    assert "Different failure probability alpha" in warnings
    assert "Different number of draws N" in warnings
    assert "Different numbers of elements retained per draw" in warnings


def test_runs_of_one_scheme_are_told_apart_by_what_differs(tmp_path, pair, segmentation_run):
    other = segmentation_run(tmp_path / "o", draws=200)
    labels = [run.label for run in build_report([pair[0], other]).runs]
    assert labels == ["MMCert (N 500)", "MMCert (N 200)"]


def test_without_a_shared_statistics_option_there_is_nothing_to_compare(
    tmp_path, pair, segmentation_run
):
    other = segmentation_run(tmp_path / "o", statistics=("bonferroni",))
    with pytest.raises(ConfigError, match="share no result"):
        build_report([pair[0], other])


def test_a_fair_pair_gives_no_warning(pair):
    assert build_report(pair).warnings == ()

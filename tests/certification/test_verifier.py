"""The verifier against runs that were evaluated by the code it does not import."""

import json

import numpy as np
import pytest

from mmcert.certification.verifier.verify import verify
from mmcert.records.votes import SampleVotes


def listed(found):
    return [line for lines in found.values() for line in lines]


def figures(document):
    return [
        value
        for entry in document["results"]
        for point in entry["grid"]
        for value in point.values()
        if isinstance(value, float)
    ]


def assert_holds(run, document, *, exactly=True):
    findings = verify(run)
    assert listed(findings.failed) == []
    if exactly:
        assert listed(findings.warned) == []
    assert max(figures(document)) > 0.3  # something was certified at all
    assert findings.held["metrics"] > 20
    return findings


SEGMENTATION = {
    "holm": {"holm": {"family": ["sample", "dataset"]}},
    "closed": {"closed_evalues": {}},
    "joint": {"closed_evalues": {"over_budgets": "joint"}},
    "one_level": {"closed_evalues": {"test": "binomial", "levels": [0.1], "weights": [1.0]}},
    "bonferroni": {"bonferroni": {"family": ["sample", "dataset"]}},
    "alone": {"binomial": {}, "margin": {}, "published": {}},
}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("name", SEGMENTATION)
def test_a_segmentation_run_holds(make_run, random_votes, name, classes, select):
    votes = random_votes("segmentation", classes=classes, select=select)
    run, document = make_run(votes, statistics=SEGMENTATION[name])
    # Margins below the level of unanimous votes, and labels settled at alpha/H_P, are claimed less
    # sharply than the method allows.
    exactly = name not in ("closed", "joint")
    assert_holds(run, document, exactly=exactly)


CLASSIFICATION = {
    "alone": {"binomial": {}, "margin": {}, "published": {}},
    "two_bounds": {"margin": {"method": "two_bounds"}, "binomial": {"per_sample_alpha": 0.001}},
    "bonferroni": {"bonferroni": {}},
    "holm": {"holm": {}},
    "closed": {"closed_evalues": {}},
    "joint": {"closed_evalues": {"over_budgets": "joint"}},
    "by_label": {
        "bonferroni": {"test": "binomial"},
        "holm": {"test": "binomial"},
        "closed_evalues": {"test": "binomial", "levels": [0.1], "weights": [1.0]},
    },
}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_a_classification_run_holds(make_run, random_votes, name, classes, select):
    votes = random_votes("classification", samples=12, classes=classes, select=select)
    run, document = make_run(votes, statistics=CLASSIFICATION[name])
    assert_holds(run, document, exactly=name != "joint")


@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("test", ["binomial", "margin"])
@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("over_budgets", ["each", "joint"])
def test_votes_that_stopped_by_themselves_hold(
    make_run, random_votes, task, test, select, over_budgets
):
    votes = random_votes(
        task, samples=5, classes=3, draws=90, voting="sequential", select=select, seed=3
    )
    for index in (1, 2):  # stopped earlier
        whole = votes[index]
        counts = np.asarray(whole.counts) // 2
        counts[0] += 50 - counts.sum(axis=0)
        votes[index] = SampleVotes(
            whole.id,
            counts,
            whole.target,
            50,
            whole.scheme,
            whole.selection_counts,
            whole.selection_draws,
        )
    statistics = {"closed_evalues": {"test": test, "over_budgets": over_budgets}}
    run, document = make_run(votes, statistics=statistics, alpha=0.05)
    assert_holds(run, document, exactly=over_budgets == "each")


@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["mmcert", "randomized_ablation", "randomized_ablation_aligned"])
def test_votes_over_all_sub_samples_hold(
    make_run, random_votes, make_scheme_of, task, classes, name
):
    scheme = make_scheme_of(name, n={"rgb": 6, "depth": 6}, k={"rgb": 2, "depth": 2})
    draws = {"mmcert": 225, "randomized_ablation": 495, "randomized_ablation_aligned": 15}[name]
    from mmcert.voting.exhaustive import enumeration_hash

    votes = random_votes(
        task,
        samples=3,
        classes=classes,
        draws=draws,
        schemes=[scheme] * 3,
        voting="exhaustive",
        enumeration=enumeration_hash([scheme]),
    )
    run, document = make_run(votes, budgets=[{}, {"rgb": 1}, {"depth": 1}, {"rgb": 1, "depth": 1}])
    findings = assert_holds(run, document)
    assert findings.held["enumeration"] == 4


def test_a_threat_that_the_elements_do_not_allow_is_named(make_run, random_votes, make_scheme_of):
    votes = random_votes("classification", schemes=[make_scheme_of("mmcert")] * 4)
    run, document = make_run(votes, kinds={"rgb": "deletion", "depth": "modification"})
    assert_holds(run, document)
    path = run / "votes" / "meta.json"
    meta = json.loads(path.read_text())
    meta["modalities"]["rgb"]["modification_only"] = "a window by the duration"
    path.write_text(json.dumps(meta))
    (said,) = verify(run).failed["settings"]
    assert "deletion of rgb cannot be certified, only modification: a window" in said


@pytest.mark.parametrize("kind", ["addition", "deletion", "edits"])
@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation"])
def test_every_threat_kind_holds(make_run, random_votes, make_scheme_of, kind, scheme):
    schemes = [make_scheme_of(scheme)] * 4
    votes = random_votes("classification", schemes=schemes)
    run, document = make_run(votes, kinds={"rgb": kind, "depth": "modification"})
    assert_holds(run, document)


@pytest.mark.parametrize("statistics", [*SEGMENTATION.values()], ids=[*SEGMENTATION])
def test_samples_of_several_sizes_and_draws_hold(
    make_run, random_votes, make_scheme_of, statistics
):
    """The n, k and N of each sample are its own; some are without labels, or without a class."""
    schemes = [make_scheme_of(n={"rgb": n, "depth": n}) for n in (200, 200, 150, 300)]
    votes = random_votes("segmentation", schemes=schemes)
    fewer = random_votes("segmentation", draws=40, schemes=schemes, seed=5)
    blank = fewer[3]
    votes[1] = fewer[1]
    votes[2] = SampleVotes("s2", blank.counts, np.ones_like(blank.target), 40, schemes[2])
    votes[3] = SampleVotes("s3", blank.counts, np.full_like(blank.target, 255), 40, schemes[3])
    run, document = make_run(votes, statistics=statistics, one_number_of_draws=False)
    assert_holds(run, document, exactly=False)


@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("select", [False, True])
def test_votes_without_labels_hold(make_run, random_votes, task, select):
    """Stable claims and maps of the claimed labels are all there is."""
    votes = random_votes(task, classes=3, select=select, samples=4)
    for index, one in enumerate(list(votes)):
        if index != 2:
            votes[index] = SampleVotes(
                one.id,
                one.counts,
                None,
                one.draws,
                one.scheme,
                one.selection_counts,
                one.selection_draws,
            )
    statistics = {"bonferroni": {}, "holm": {}, "closed_evalues": {}}
    run, document = make_run(votes, statistics=statistics)
    assert_holds(run, document, exactly=False)


def test_the_frontier_of_a_target_holds(make_run, random_votes):
    for metric in ("certified_pixel_accuracy", "certified_iou"):
        votes = random_votes("segmentation", classes=3, draws=200)
        run, document = make_run(
            votes,
            statistics={"bonferroni": {}, "closed_evalues": {"over_budgets": "joint"}},
            target={"metric": metric, "level": 0.4},
        )
        assert_holds(run, document, exactly=False)


def test_blocks_of_one_sample_in_two_folders_are_added_up(tmp_path, random_votes, make_run):
    import dataclasses

    from mmcert.certification.evaluate import evaluate
    from mmcert.records.folders import VotesFolders
    from mmcert.records.run import read_run, write_run

    votes = random_votes("classification")
    run, _ = make_run(votes)
    first = [dataclasses.replace(one, draw_range=((0, 60),)) for one in votes]
    second = [dataclasses.replace(one, draw_range=((60, 120),)) for one in votes]
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, samples in zip(folders, (first, second), strict=True):
        type(votes)(samples, votes.meta).write(folder)
    both = VotesFolders(folders)
    document = evaluate(both, both.meta, budgets=[{}, {"rgb": 2}], out=run, alpha=0.01)
    description = dataclasses.replace(
        read_run(run), votes=tuple(map(str, folders)), votes_sha256={}
    )
    write_run(run, description)
    findings = assert_holds(run, document)
    assert any("SHA-256 of the votes files" in line for line in findings.skipped)

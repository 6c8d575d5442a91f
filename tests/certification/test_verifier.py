"""The verifier against runs that were evaluated by the code it does not import."""

import json

import pytest

from mmcert.certification.evaluate import evaluate
from mmcert.certification.verifier.verify import verify
from mmcert.records.run import RunDescription, fingerprint, write_run
from mmcert.records.votes import votes_sha256

BUDGETS = [{"rgb": a, "depth": b} for a in (0, 1, 2, 5, 9) for b in (0, 2, 20)]


@pytest.fixture
def make_run(tmp_path):
    """A run directory as the commands leave it, from votes in memory."""

    def make(votes, *, hashes=True, **settings):
        run = tmp_path / "run"
        votes.write(run / "votes")
        alpha = settings.setdefault("alpha", 0.01)
        document = evaluate(votes, votes.meta, out=run, **{"budgets": BUDGETS, **settings})
        k = {modality.name: modality.k for modality in votes.meta.modalities}
        facts = {
            "scheme": {"name": votes.meta.scheme, "k": k},
            "mode": votes.meta.voting,
            "draws": votes.meta.draws,
        }
        description = RunDescription(
            "evaluate",
            votes.meta.task,
            votes.meta.scheme,
            {modality.name: modality.element for modality in votes.meta.modalities},
            stopping=votes.meta.voting,
            fingerprint=fingerprint(facts),
            fingerprint_of=facts,
            votes_sha256={one.id: votes_sha256(run / "votes", one.id) for one in votes}
            if hashes
            else {},
        )
        write_run(run, description)
        (run / "config.yaml").write_text(json.dumps({"alpha": alpha}))  # JSON is YAML
        return run, document

    return make


def complaints(findings):
    return [line for kind in findings.failed for line in findings.failed[kind]]


def warnings(findings):
    return [line for kind in findings.warned for line in findings.warned[kind]]


SEGMENTATION = {
    "holm": {"holm": {"family": ["sample", "dataset"]}},
    "closed": {"closed_evalues": {}},
    "joint": {"closed_evalues": {"over_budgets": "joint"}},
    "bonferroni": {"bonferroni": {"family": ["sample", "dataset"]}},
    "alone": {"binomial": {}, "margin": {}, "published": {}},
}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("select", [False, True])
@pytest.mark.parametrize("name", SEGMENTATION)
def test_a_segmentation_run_holds(make_run, random_votes, name, classes, select):
    votes = random_votes("segmentation", classes=classes, select=select)
    run, document = make_run(votes, statistics=SEGMENTATION[name])
    findings = verify(run)
    assert complaints(findings) == []
    assert findings.held["metrics"] > 100
    assert warnings(findings) == []
    assert any(
        value not in (0.0, None)
        for entry in document["results"]
        for point in entry["grid"]
        for value in point.values()
    )


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
    run, _ = make_run(votes, statistics=CLASSIFICATION[name])
    findings = verify(run)
    assert complaints(findings) == []
    assert warnings(findings) == []

"""Maps of one sample at any budget, and which sample and budget are shown."""

import numpy as np

from mmcert.certification.evaluate import evaluate
from mmcert.records.folders import VotesFolders
from mmcert.records.maps import ABSTAINED
from mmcert.records.run import RunDescription, write_run
from mmcert.reporting.loading import load_runs
from mmcert.reporting.map_at import map_at, telling_budget
from mmcert.reporting.rays import find_ray
from mmcert.reporting.sample_images import choose_sample, load_sample


def test_the_map_made_for_the_report_is_the_map_that_evaluation_writes(tmp_path, pair):
    (run,) = load_runs(pair[:1])
    budget = {"rgb": 2, "depth": 4}
    votes = VotesFolders(run.votes)
    evaluate(
        votes,
        votes.meta,
        budgets=[budget],
        statistics={"holm": {}},
        out=tmp_path,
        maps={"budget": budget},
    )
    sample = run.ids[1]
    from PIL import Image

    written = np.asarray(Image.open(tmp_path / "maps" / f"{sample}.png"))
    assert (map_at(run, sample, (2, 4)) == written).all()


def test_the_input_of_an_evaluation_is_found_through_the_votes_that_it_counted(tmp_path, pair):
    votes = VotesFolders([pair[0] / "votes"])
    evaluate(votes, votes.meta, budgets=[{"rgb": 1, "depth": 2}], out=tmp_path)
    description = RunDescription("evaluate", "segmentation", "mmcert", {}, votes=(str(pair[0]),))
    write_run(tmp_path, description)
    (run,) = load_runs([tmp_path])
    assert load_sample([run], run.ids[0], None).rgb is not None


def test_a_larger_budget_never_certifies_more_of_a_map(pair):
    (run,) = load_runs(pair[:1])
    shares = [(map_at(run, run.ids[0], (r, 2 * r)) == ABSTAINED).mean() for r in range(6)]
    assert shares == sorted(shares)
    assert shares[0] < 0.5 < shares[-1]


def test_the_sample_shown_is_the_median_one(pair):
    runs = load_runs(pair)
    abstained = {i: load_sample(runs[:1], i, None).maps[0].abstained for i in runs[0].ids}
    assert choose_sample(runs, None) == sorted(abstained, key=lambda i: (abstained[i], i))[1]


def test_the_budget_shown_is_where_the_runs_differ_most(pair):
    runs = load_runs(pair)
    ray = find_ray(list(runs[0].results[0].values), runs[0].names, {"rgb": 1, "depth": 2})
    budget = telling_budget(runs, ray, "certified_f_score")
    gaps = {
        b: abs(
            runs[0].results[0].value(b, "certified_f_score")
            - runs[1].results[0].value(b, "certified_f_score")
        )
        for b in ray.budgets
    }
    assert gaps[budget] == max(gaps.values()) > 0.2


def test_input_and_truth_are_read_where_they_are(pair):
    runs = load_runs(pair)
    pictures = load_sample(runs, runs[0].ids[0], (1, 2))
    assert pictures.rgb.shape == (24, 80, 3)
    assert pictures.depth.shape == pictures.truth.shape == (24, 80)
    assert pictures.budget == "r_rgb = 1, r_depth = 2"
    assert pictures.class_names == ("background", "road")

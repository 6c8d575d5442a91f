"""Votes handed in by someone else: the right value, or a clear error; and what is written."""

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from mmcert.certification.evaluate import evaluate
from mmcert.certification.options import parse_statistics
from mmcert.errors import ConfigError, RecordError, UnsoundError
from mmcert.records.folders import VotesFolders
from mmcert.theory.attacks import Attack

SEGMENTATION = {"holm": {}, "closed_evalues": {}, "bonferroni": {}, "binomial": {}, "margin": {}}


def accuracies(document, claim="robust"):
    key = "stable_rate" if claim == "stable" else None
    return [
        [point[key or next(iter(set(point) & {"certified_pixel_accuracy", "certified_accuracy"}))]
         for point in one["grid"]]
        for one in document["results"]
        if one["claim"] == claim
    ]  # fmt: skip


class TestEdgeCases:
    def test_unanimous_votes_certify_everything_up_to_their_reach(self, make_votes):
        counts = np.stack([np.zeros((3, 4), int), np.full((3, 4), 500)])
        votes = make_votes("segmentation", [(counts, np.ones((3, 4), int))])
        document = evaluate(
            votes,
            votes.meta,
            budgets=[{}, {"rgb": 1}, {"rgb": 100}],
            statistics=SEGMENTATION,
        )
        for values in accuracies(document):
            assert values == [1.0, 1.0, 0.0]

    def test_tied_votes_certify_nothing_and_abstain(self, make_votes, tmp_path):
        counts = np.full((2, 3, 4), 50)
        votes = make_votes("segmentation", [(counts, np.ones((3, 4), int))])
        document = evaluate(votes, votes.meta, budgets=[{}], statistics=SEGMENTATION, out=tmp_path)
        assert all(values == [0.0] for values in accuracies(document))
        assert np.asarray(Image.open(tmp_path / "maps" / "s0.png")).tolist() == [[254] * 4] * 3

    def test_tied_classes_have_no_prediction(self, make_votes, tmp_path):
        from mmcert.records.certificates import read_certificates

        votes = make_votes("classification", [([5, 5], 0)])
        evaluate(votes, votes.meta, budgets=[{}], out=tmp_path)
        rows, _ = read_certificates(tmp_path / "certificates.parquet")
        assert [(row.predicted, row.abstained) for row in rows] == [(None, True)]

    def test_one_draw_certifies_nothing_at_usual_levels(self, make_votes):
        for task, counts, target in (
            ("classification", [0, 1], 1),
            ("segmentation", [[[0]], [[1]]], [[1]]),
        ):
            votes = make_votes(task, [(counts, target)])
            document = evaluate(votes, votes.meta)
            assert all(set(values) == {0.0} for values in accuracies(document))

    def test_one_draw_of_exhaustive_votes_is_a_certificate(self, make_votes, make_scheme_of):
        """k = n: a single sub-sample, which any modification reaches."""
        scheme = make_scheme_of(n={"rgb": 4, "depth": 3}, k={"rgb": 4, "depth": 3})
        votes = make_votes("classification", [([0, 1], 1)], schemes=[scheme], voting="exhaustive")
        document = evaluate(votes, votes.meta, budgets=[{}, {"rgb": 1}])
        assert accuracies(document) == [[1.0, 0.0]]

    def test_an_absent_class_is_undefined_and_left_out(self, make_votes):
        full = np.stack([np.full((1, 4), 0), np.full((1, 4), 300)])
        samples = [(full[::-1], np.zeros((1, 4), int)), (full, np.ones((1, 4), int))]
        votes = make_votes("segmentation", samples)
        document = evaluate(votes, votes.meta, budgets=[{}], statistics={"holm": {}})
        one = document["results"][0]
        assert one["grid"][0]["certified_recall"] == 1.0
        assert one["grid"][0]["certified_precision"] == 0.5  # 0 where nothing is predicted
        assert one["reading"]["left_out"]["samples without the class"] == [1, 1]
        alone = make_votes("segmentation", samples[:1])
        document = evaluate(alone, alone.meta, budgets=[{}], statistics={"holm": {}})
        point = document["results"][0]["grid"][0]
        assert point["certified_pixel_accuracy"] == 1.0
        assert point["certified_recall"] is point["certified_f_score"] is None

    @pytest.mark.parametrize("classes", [2, 3])
    def test_an_image_without_any_label_counts_for_nothing(self, make_votes, classes):
        counts = np.zeros((classes, 2, 2), int)
        counts[0] = 300
        blank = (counts, np.full((2, 2), 255))
        good = (counts, np.zeros((2, 2), int))
        votes = make_votes("segmentation", [blank, good], classes=classes)
        document = evaluate(votes, votes.meta, budgets=[{}], statistics=SEGMENTATION)
        assert all(values == [1.0] for values in accuracies(document))
        only = make_votes("segmentation", [blank], classes=classes)
        document = evaluate(only, only.meta, budgets=[{}], statistics=SEGMENTATION)
        assert all(values == [None] for values in accuracies(document))

    def test_k_equal_to_n_is_reached_by_any_attack(self, make_votes, make_scheme_of):
        scheme = make_scheme_of(n={"rgb": 9, "depth": 9}, k={"rgb": 9, "depth": 0})
        votes = make_votes("classification", [([0, 500], 1)], schemes=[scheme])
        document = evaluate(
            votes, votes.meta, budgets=[{}, {"rgb": 1}, {"depth": 9}], statistics={"binomial": {}}
        )
        # an unused modality is free, whatever happens to it
        assert accuracies(document)[0] == [1.0, 0.0, 1.0]

    def test_budgets_beyond_n_minus_k_certify_nothing(self, make_votes, make_scheme_of):
        scheme = make_scheme_of(n={"rgb": 9, "depth": 9}, k={"rgb": 2, "depth": 1})
        votes = make_votes("classification", [([0, 500], 1)], schemes=[scheme])
        for kind in ("modification", "addition", "deletion", "edits"):
            document = evaluate(
                votes,
                votes.meta,
                budgets=[{"rgb": 0}, {"rgb": 8}, {"rgb": 10**6}],
                kinds=kind,
                statistics={"binomial": {}, "margin": {}},
            )
            assert all(values[:2] == [1.0, 0.0] for values in accuracies(document)[::2])
            assert all(values[2] == 0.0 for values in accuracies(document))


class TestRefusals:
    def test_sequential_votes_refuse_statistics_of_a_fixed_number(self, make_votes):
        votes = make_votes("classification", [([0, 500], 1)], voting="sequential")
        with pytest.raises(UnsoundError, match="holm"):
            evaluate(votes, votes.meta, statistics={"holm": {}})

    def test_sequential_votes_are_certified_by_martingales(self, make_votes):
        samples = [([0, 500], 1), ([1, 40], 1), ([20, 25], 1)]
        votes = make_votes("classification", samples, voting="sequential")
        document = evaluate(votes, votes.meta, budgets=[{}, {"rgb": 2}])
        assert {one["draws"] for one in document["results"]} == {"sequential"}
        found = {
            one["guarantee"]: [point["certified_accuracy"] for point in one["grid"]]
            for one in document["results"]
            if one["claim"] == "robust"
        }
        assert found["per_sample"][0] == pytest.approx(2 / 3)
        assert found["dataset"][0] <= found["per_sample"][0]

    def test_sequential_images_are_certified_by_martingales(self, random_votes):
        votes = random_votes("segmentation", voting="sequential", draws=300)
        document = evaluate(votes, votes.meta, budgets=[{}, {"rgb": 2}, {"rgb": 6}])
        for values in accuracies(document):
            assert values == sorted(values, reverse=True)
            assert values[0] > 0.5

    def test_exhaustive_votes_refuse_every_sampling_statistic(self, make_votes, make_scheme_of):
        scheme = make_scheme_of(n={"rgb": 5, "depth": 1}, k={"rgb": 2, "depth": 1})
        votes = make_votes("classification", [([1, 9], 1)], schemes=[scheme], voting="exhaustive")
        with pytest.raises(UnsoundError, match="every sub-sample"):
            evaluate(votes, votes.meta, statistics={"binomial": {}})

    def test_exhaustive_counts_decide_in_integers(self, make_votes, make_scheme_of):
        """S = 10, O = 6 at one modified pixel: the lead must exceed 8."""
        scheme = make_scheme_of(n={"rgb": 5, "depth": 1}, k={"rgb": 2, "depth": 1})
        S, common = 10, math.comb(4, 2)
        for lead, certified in ((2 * (S - common), 0.0), (2 * (S - common) + 2, 1.0)):
            right = (S + lead) // 2
            for task, counts, target in (
                ("classification", [S - right, right], 1),
                ("segmentation", [[[S - right]], [[right]]], [[1]]),
            ):
                votes = make_votes(task, [(counts, target)], schemes=[scheme], voting="exhaustive")
                document = evaluate(votes, votes.meta, budgets=[{"rgb": 1}])
                for one in document["results"]:
                    assert (one["alpha"], one["draws"]) == (0.0, "exhaustive")
                    assert one["over_budgets"] == "joint"
                assert {v[0] for v in accuracies(document)} == {certified}

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"statistics": {"bootstrap": {}}}, ConfigError, "unknown statistics 'bootstrap'"),
            ({"statistics": {"holm": {"famly": "sample"}}}, ConfigError, "holm has no setting"),
            ({"statistics": {"holm": {"family": "batch"}}}, ConfigError, "sample, dataset"),
            ({"statistics": {"closed_evalues": {"levels": [0.5]}}}, ConfigError, "weight"),
            ({"statistics": {"margin": {"method": "best"}}}, ConfigError, "method"),
            ({"statistics": {"margin": {"method": "berger_boos"}}}, ConfigError, "two_bounds"),
            ({"alpha": 0.7}, ConfigError, "alpha"),
            ({"claims": ["certain"]}, ConfigError, "claims"),
            ({"budgets": []}, ConfigError, "no budget"),
            ({"budgets": [{"lidar": 1}]}, ConfigError, "lidar.*rgb, depth"),
            ({"budgets": [{"rgb": -1}]}, ConfigError, "at least 0"),
            ({"budgets": [{"rgb": 1.5}]}, ConfigError, "integer"),
            ({"budgets": [{}], "kinds": "removal"}, ConfigError, "removal"),
            ({"budgets": [{}], "kinds": {"lidar": "deletion"}}, ConfigError, "lidar"),
            ({"target": {"metric": "f1", "level": 0.5}}, ConfigError, "target.metric"),
            ({"target": {"level": 1.5}}, ConfigError, "target.level"),
            ({"maps": {"budget": {"lidar": 0}}}, ConfigError, "lidar"),
            ({"maps": {"radius": 3}}, ConfigError, "maps has no setting"),
            ({"maps": {"statistics": "closed_evalues"}}, ConfigError, "maps.statistics"),
        ],
    )
    def test_settings_that_make_no_sense_get_a_clear_error(
        self, random_votes, tmp_path, settings, error, message
    ):
        votes = random_votes("segmentation", samples=1)
        with pytest.raises(error, match=message):
            evaluate(votes, votes.meta, out=tmp_path / "run", **settings)
        assert not (tmp_path / "run").exists()

    def test_a_sample_of_a_classification_task_is_no_family(self):
        with pytest.raises(ConfigError, match="family"):
            parse_statistics({"holm": {"family": "sample"}}, "classification", 2)

    def test_robust_claims_need_labels(self, make_votes):
        votes = make_votes("classification", [([1, 9], None)])
        with pytest.raises(ConfigError, match="needs labels"):
            evaluate(votes, votes.meta, claims=["robust"])

    def test_no_votes_are_an_error(self, random_votes):
        with pytest.raises(RecordError, match="no votes"):
            evaluate([], random_votes("segmentation", samples=1).meta)

    def test_a_ratio_of_n_certifies_modification_only(self, make_votes, make_scheme_of):
        schemes = [
            make_scheme_of(),
            make_scheme_of(n={"rgb": 100, "depth": 100}, k={"rgb": 6, "depth": 3}),
        ]
        votes = make_votes("classification", [([1, 99], 1)] * 2, schemes=schemes)
        evaluate(votes, votes.meta, budgets=[{"rgb": 1}])
        with pytest.raises(UnsoundError, match="same number of retained"):
            evaluate(votes, votes.meta, budgets=[{"rgb": 1}], kinds={"rgb": "deletion"})

    def test_the_aligned_scheme_certifies_modification_only(self, make_votes, make_scheme_of):
        scheme = make_scheme_of("randomized_ablation_aligned")
        votes = make_votes("classification", [([1, 99], 1)], schemes=[scheme])
        with pytest.raises(UnsoundError, match="modification only"):
            evaluate(votes, votes.meta, budgets=[{"rgb": 1}], kinds="addition")


class TestWhatIsWritten:
    def test_the_same_votes_and_settings_give_the_same_bytes(self, random_votes, tmp_path):
        votes = random_votes("segmentation", select=True)
        folder = votes.write(tmp_path / "votes")
        evaluate(votes, votes.meta, statistics=SEGMENTATION, out=tmp_path / "memory")
        read = VotesFolders([folder])
        evaluate(read, read.meta, statistics=SEGMENTATION, out=tmp_path / "disk")
        evaluate(iter(votes), votes.meta, statistics=SEGMENTATION, out=tmp_path / "iterator")
        for name in ("metrics.json", "certificates.parquet", "maps/s0.png", "maps/s3.png"):
            contents = {
                (tmp_path / run / name).read_bytes() for run in ("memory", "disk", "iterator")
            }
            assert len(contents) == 1

    def test_the_map_of_an_image_agrees_with_its_accuracy(self, random_votes, tmp_path):
        for classes, name in ((2, "holm"), (3, "margin"), (3, "bonferroni"), (2, "margin")):
            votes = random_votes("segmentation", samples=1, classes=classes, draws=200)
            out = tmp_path / f"{name}{classes}"
            document = evaluate(
                votes,
                votes.meta,
                budgets=[{"rgb": 3}],
                statistics={name: {}},
                maps={"budget": {"rgb": 3}},
                out=out,
            )
            image = np.asarray(Image.open(out / "maps" / "s0.png"))
            target = votes[0].target
            assert ((image == 255) == (target == 255)).all()
            certified = image < 254
            assert (image[certified] == target[certified]).all()
            point = document["results"][0]["grid"][0]
            labelled = (target != 255).sum()
            assert Fraction(point["certified_pixel_accuracy"]) <= Fraction(
                int(certified.sum()), int(labelled)
            )
            assert point["certified_pixel_accuracy"] == pytest.approx(certified.sum() / labelled)
            assert 0 < certified.sum() < labelled

    def test_unlabelled_images_get_maps_of_stable_labels(self, make_votes, tmp_path):
        counts = np.array([[[100, 3, 50]], [[0, 97, 50]]])
        votes = make_votes("segmentation", [(counts, None)])
        document = evaluate(
            votes, votes.meta, budgets=[{}], statistics={"bonferroni": {}}, out=tmp_path
        )
        assert np.asarray(Image.open(tmp_path / "maps" / "s0.png")).tolist() == [[0, 1, 254]]
        assert {one["claim"] for one in document["results"]} == {"stable"}
        assert document["results"][0]["grid"][0]["stable_rate"] == pytest.approx(2 / 3)

    def test_maps_of_an_earlier_evaluation_do_not_stay(self, random_votes, tmp_path):
        votes = random_votes("segmentation")
        evaluate(votes, votes.meta, out=tmp_path)
        evaluate(votes[:2], votes.meta, out=tmp_path)
        assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["s0.png", "s1.png"]
        evaluate(votes, votes.meta, out=tmp_path, maps=False)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "certificates.parquet",
            "metrics.json",
        ]

    def test_a_failed_write_keeps_the_metrics_of_before(self, random_votes, tmp_path, monkeypatch):
        votes = random_votes("segmentation")
        evaluate(votes, votes.meta, out=tmp_path, budgets=[{}])
        before = (tmp_path / "metrics.json").read_bytes()

        def broken(*_):
            raise OSError("no space left")

        monkeypatch.setattr("mmcert.certification.maps.write_map", broken)
        with pytest.raises(OSError, match="no space"):
            evaluate(votes, votes.meta, out=tmp_path, budgets=[{"rgb": 1}])
        assert (tmp_path / "metrics.json").read_bytes() == before
        assert len(list((tmp_path / "maps").iterdir())) == 4
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    def test_thresholds_are_stored_rounded_up(self, random_votes):
        votes = random_votes("segmentation", samples=1)
        document = evaluate(votes, votes.meta, budgets=[{}, {"rgb": 5}])
        (stored,) = document["thresholds"]
        exact = (1 + votes[0].scheme.margin(Attack({"rgb": 5}))) / 2
        assert stored["t"][0] == 0.5
        assert Fraction(stored["t"][1]) >= exact > Fraction(math.nextafter(stored["t"][1], 0))
        json.dumps(document, allow_nan=False)

    def test_each_result_says_what_it_promises(self, random_votes):
        votes = random_votes("segmentation", samples=2)
        document = evaluate(votes, votes.meta, statistics=SEGMENTATION, budgets=[{}])
        for one in document["results"]:
            text = one["reading"]["promise"]
            assert "probability at least 1 - 0.001" in text
            assert ("at every budget" in text) == (one["over_budgets"] == "joint")
            if one["statistics"] == "closed_evalues":
                assert "nothing is said about which" in text
            if one["guarantee"] == "per_element":  # a mean: all false ones may come at once
                assert "on average up to a share alpha" in text

    @pytest.mark.parametrize(
        ("change", "facts", "message"),
        [
            ({"counts": 2}, {}, "votes of 100 draws|must sum to draws"),
            ({}, {"voting": "exhaustive"}, "counts all"),
            ({"draws": 99}, {}, "of 99 draws|must sum to draws = 99"),
        ],
    )
    def test_votes_in_memory_are_checked_like_files(self, random_votes, change, facts, message):
        votes = random_votes("segmentation", samples=1, draws=100)
        one = votes[0]
        if "counts" in change:
            change = {"counts": one.counts * 0 + 100}  # every class unanimous
        meta = dataclasses.replace(votes.meta, **facts)
        with pytest.raises(RecordError, match=message):
            evaluate([dataclasses.replace(one, **change)], meta, budgets=[{}])

    def test_what_the_draws_cannot_certify_is_said(self, random_votes):
        lines = []
        votes = random_votes("segmentation", samples=1, draws=10)
        evaluate(
            votes, votes.meta, statistics={"holm": {}}, budgets=[{"rgb": 60}], say=lines.append
        )
        assert any("cannot be certified even by unanimous votes" in line for line in lines)

    def test_draws_may_differ_between_samples(self, random_votes):
        votes = random_votes("segmentation", draws=60) + random_votes(
            "segmentation", samples=1, draws=90
        )
        last = dataclasses.replace(votes[-1], id="s9")
        meta = random_votes("segmentation", samples=1).meta
        document = evaluate([*votes[:-1], last], meta, statistics=SEGMENTATION, budgets=[{}])
        assert {one["draws"] for one in document["results"]} == {60}
        assert all(0 < values[0] <= 1 for values in accuracies(document))

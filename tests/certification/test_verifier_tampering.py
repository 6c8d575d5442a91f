"""What was changed after it was written is caught, and named."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmcert.certification.verifier.verify import verify

STATISTICS = {
    "segmentation": {"bonferroni": {}, "holm": {}, "closed_evalues": {}, "binomial": {}},
    "classification": {"binomial": {}, "margin": {}, "holm": {}, "closed_evalues": {}},
}


@pytest.fixture
def segmentation(make_run, random_votes):
    run, _ = make_run(
        random_votes("segmentation", draws=200), statistics=STATISTICS["segmentation"]
    )
    return run


@pytest.fixture
def classification(make_run, random_votes):
    votes = random_votes("classification", classes=3, samples=8)
    run, _ = make_run(votes, statistics=STATISTICS["classification"])
    return run


def edit_json(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def edit_votes(run, name, change):
    path = run / "votes" / f"{name}.npz"
    arrays = dict(np.load(path))
    change(arrays)
    np.savez_compressed(path, **arrays)


def forget_hashes(run):
    """As if the run had none: what the votes say must be enough."""
    edit_json(run / "run.json", lambda document: document.update(votes_sha256={}))


def edit_rows(run, change):
    path = run / "certificates.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def edit_map(run, name, change):
    path = run / "maps" / f"{name}.png"
    with Image.open(path) as image:
        pixels, facts = np.array(image), PngInfo()
        for key, value in image.text.items():
            facts.add_text(key, value)
    change(pixels)
    Image.fromarray(pixels).save(path, pnginfo=facts)


def find_entry(document, statistics, claim="robust"):
    return next(
        entry
        for entry in document["results"]
        if (entry["statistics"], entry["claim"]) == (statistics, claim)
    )


# --- what is changed, and what the failure says -------------------------------------------------


def one_vote_moved(run):
    def change(arrays):
        flat = arrays["counts"].reshape(len(arrays["counts"]), -1)
        flat[0, 0], flat[1, 0] = flat[1, 0], flat[0, 0]  # the sum stays

    edit_votes(run, "s1", change)


def one_vote_moved_without_hashes(run):
    one_vote_moved(run)
    forget_hashes(run)


def a_vote_too_many(run):
    edit_votes(run, "s1", lambda arrays: arrays["counts"].reshape(-1).__iadd__(1))
    forget_hashes(run)


def a_byte_of_a_votes_file(run):
    path = run / "votes" / "s2.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def a_votes_file_removed(run):
    (run / "votes" / "s1.npz").unlink()


def a_votes_file_added(run):
    shutil.copy(run / "votes" / "s1.npz", run / "votes" / "s9.npz")


def a_votes_file_removed_without_hashes(run):
    a_votes_file_removed(run)
    forget_hashes(run)


def a_votes_file_added_without_hashes(run):
    a_votes_file_added(run)
    forget_hashes(run)


def k_in_the_meta(run):
    edit_json(
        run / "votes" / "meta.json",
        lambda document: document["modalities"]["rgb"].update(k=11),
    )


def n_in_the_meta(run):
    edit_json(
        run / "votes" / "meta.json",
        lambda document: document["modalities"]["rgb"].update(n=400),
    )


def draws_in_the_meta(run):
    edit_json(run / "votes" / "meta.json", lambda document: document.update(draws=61))


def selection_votes_added(run):
    """Labels chosen after looking at the votes."""

    def change(arrays):
        arrays["selection_counts"] = arrays["counts"]
        arrays["selection_draws"] = np.int64(arrays["counts"].sum(axis=0).flat[0])

    edit_votes(run, "s0", change)
    forget_hashes(run)


def the_fingerprint(run):
    edit_json(run / "run.json", lambda document: document.update(fingerprint="0" * 64))


def what_the_fingerprint_covers(run):
    edit_json(run / "run.json", lambda document: document["fingerprint_of"].update(draws=17))


def the_checkpoint(run):
    (run / "best.ckpt").write_bytes(b"other weights")


def a_threshold_lowered(run):
    def change(document):
        document["thresholds"][0]["t"][4] -= 1e-15

    edit_json(run / "metrics.json", change)


def alpha_in_the_metrics(run):
    edit_json(
        run / "metrics.json",
        lambda document: [entry.update(alpha=0.05) for entry in document["results"]],
    )


def alpha_lowered_everywhere(run):
    """A stronger promise than the votes keep."""
    edit_json(
        run / "metrics.json",
        lambda document: [entry.update(alpha=1e-9) for entry in document["results"]],
    )
    (run / "config.yaml").write_text("alpha: 1.0e-09")


def draws_of_an_entry(run):
    edit_json(run / "metrics.json", lambda document: document["results"][0].update(draws=1000))


def the_threat(run):
    edit_json(
        run / "metrics.json",
        lambda document: [entry["threat"].update(rgb="deletion") for entry in document["results"]],
    )


def joint_where_it_is_each(run):
    edit_json(
        run / "metrics.json",
        lambda document: find_entry(document, "holm").update(over_budgets="joint"),
    )


def weights_that_sum_to_more(run):
    edit_json(
        run / "metrics.json",
        lambda document: find_entry(document, "closed_evalues")["reading"].update(
            weights=[5.0, 1.0]
        ),
    )


def a_row_removed(run):
    edit_rows(run, lambda rows: rows.pop(0))


def a_row_twice(run):
    edit_rows(run, lambda rows: rows.append(rows[0]))


def no_longer_abstained(run):
    def change(rows):
        for row in rows:
            row["abstained"] = False

    edit_rows(run, change)


def draws_of_a_row(run):
    edit_rows(run, lambda rows: rows[0].update(draws=10**6))


EVERYWHERE = [
    (one_vote_moved, "s1.npz: SHA-256"),
    (one_vote_moved_without_hashes, "sample s1"),
    (a_vote_too_many, "s1.npz"),
    (a_byte_of_a_votes_file, "s2.npz: SHA-256"),
    (a_votes_file_removed, "s1.npz is missing"),
    (a_votes_file_added, "s9.npz: run.json does not list it"),
    (a_votes_file_removed_without_hashes, "sample s1"),
    (a_votes_file_added_without_hashes, "sample s9"),
    (k_in_the_meta, "rgb keeps k = 11, run.json: fingerprint_of says 12"),
    (n_in_the_meta, "n is {'rgb': 200, 'depth': 200}, derived {'rgb': 400"),
    (draws_in_the_meta, "61"),
    (selection_votes_added, "sample s0"),
    (the_fingerprint, "run.json: fingerprint 000"),
    (what_the_fingerprint_covers, "run.json: fingerprint "),
    (the_checkpoint, "best.ckpt: SHA-256"),
    (a_threshold_lowered, "{'rgb': 1, 'depth': 2}: claimed"),
    (alpha_in_the_metrics, "alpha is 0.05, config.yaml says 0.01"),
    (alpha_lowered_everywhere, "metrics.json: results[0]"),
    (draws_of_an_entry, "draws is 1000"),
    (the_threat, "cannot be certified with encoding 'zero'"),
    (joint_where_it_is_each, "holm holds for each budget by itself"),
    (weights_that_sum_to_more, "weights"),
    (a_row_removed, "the row is missing"),
    (a_row_twice, "a row twice"),
    (draws_of_a_row, "draws is 1000000"),
]


@pytest.mark.parametrize(
    ("change", "said"), EVERYWHERE, ids=lambda one: getattr(one, "__name__", "")
)
def test_a_change_in_a_segmentation_run_is_named(segmentation, change, said):
    assert_named(segmentation, change, said)


@pytest.mark.parametrize(
    ("change", "said"), EVERYWHERE, ids=lambda one: getattr(one, "__name__", "")
)
def test_a_change_in_a_classification_run_is_named(classification, change, said):
    assert_named(classification, change, said)


def assert_named(run, change, said):
    assert verify(run).all_hold
    change(run)
    findings = verify(run)
    failures = [line for lines in findings.failed.values() for line in lines]
    assert any(said in line for line in failures), failures
    assert "FAILED" in "\n".join(findings.lines())


@pytest.mark.parametrize("statistics", [*STATISTICS["segmentation"]])
@pytest.mark.parametrize(
    "metric",
    [
        "certified_pixel_accuracy",
        "certified_recall",
        "certified_precision",
        "certified_f_score",
        "certified_iou",
    ],
)
def test_a_figure_raised_by_a_millionth_is_named(segmentation, statistics, metric):
    def change(document):
        find_entry(document, statistics)["grid"][3][metric] += 1e-6

    edit_json(segmentation / "metrics.json", change)
    (failure,) = verify(segmentation).failed["metrics"]
    assert statistics in failure
    assert f"{{'rgb': 1, 'depth': 0}}: {metric} claimed" in failure


@pytest.mark.parametrize("statistics", [*STATISTICS["classification"]])
@pytest.mark.parametrize("claim", ["robust", "stable"])
def test_a_rate_raised_by_a_millionth_is_named(classification, statistics, claim):
    metric = {"robust": "certified_accuracy", "stable": "stable_rate"}[claim]

    def change(document):
        find_entry(document, statistics, claim)["grid"][3][metric] += 1e-6

    edit_json(classification / "metrics.json", change)
    (failure,) = verify(classification).failed["metrics"]
    assert f"{statistics} {claim}" in failure
    assert metric in failure


def test_fewer_abstentions_are_named(segmentation):
    def change(document):
        find_entry(document, "binomial", "stable")["grid"][0]["abstain_rate"] = 0.0

    edit_json(segmentation / "metrics.json", change)
    (failure,) = verify(segmentation).failed["metrics"]
    assert "abstain_rate claimed 0.0" in failure


def test_a_figure_that_is_lower_than_it_could_be_is_a_warning(segmentation):
    def change(document):
        find_entry(document, "holm")["grid"][3]["certified_iou"] -= 1e-6

    edit_json(segmentation / "metrics.json", change)
    findings = verify(segmentation)
    assert findings.all_hold
    assert len(findings.warned["metrics"]) == 1


@pytest.mark.parametrize("figure", [float("nan"), "0.9", True])
def test_a_figure_that_is_no_number_is_named(classification, figure):
    def change(document):
        find_entry(document, "binomial")["grid"][0]["certified_accuracy"] = figure

    edit_json(classification / "metrics.json", change)
    assert not verify(classification).all_hold


@pytest.mark.parametrize("statistics", ["binomial", "margin"])
def test_a_lower_bound_that_was_raised_is_named(classification, statistics):
    def change(rows):
        row = max(
            (row for row in rows if row["statistics"] == statistics),
            key=lambda row: row["lower_bound"],
        )
        row["lower_bound"] += 0.01

    edit_rows(classification, change)
    (failure,) = verify(classification).failed["certificates"]
    assert "lower_bound" in failure


@pytest.mark.parametrize("run", ["segmentation", "classification"])
def test_a_frontier_that_was_enlarged_is_named(request, run):
    run = request.getfixturevalue(run)

    def change(rows):
        (row, *_) = (row for row in rows if row["frontier"])
        row["frontier"] = [[("rgb", 9), ("depth", 20)]]

    edit_rows(run, change)
    (failure,) = verify(run).failed["certificates"]
    assert "frontier: {'rgb': 9, 'depth': 20} is claimed" in failure


def test_a_frontier_of_claims_for_each_budget_is_named(classification):
    def change(rows):
        (row, *_) = (row for row in rows if row["statistics"] == "holm")
        row["frontier"] = [[("rgb", 0), ("depth", 0)]]

    edit_rows(classification, change)
    (failure,) = verify(classification).failed["certificates"]
    assert "each budget by itself" in failure


def test_a_sample_that_no_longer_abstains_is_named(make_run, make_votes):
    votes = make_votes("classification", [([5, 5], 0), ([0, 100], 1)])
    run, _ = make_run(votes)
    edit_rows(run, lambda rows: rows[0].update(abstained=False))
    (failure,) = verify(run).failed["certificates"]
    assert "abstained is False" in failure


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_pixel_of_a_map_is_named(segmentation, value):
    def change(pixels):
        y, x = np.argwhere(pixels == 254)[0]  # not certified
        pixels[y, x] = value

    edit_map(segmentation, "s2", change)
    (failure,) = verify(segmentation).failed["maps"]
    assert failure.startswith("maps/s2.png: 1 pixels")
    assert f"claimed {value}, derived 254" in failure


def test_a_pixel_that_abstains_needlessly_is_a_warning(segmentation):
    def change(pixels):
        y, x = np.argwhere(pixels == 1)[0]
        pixels[y, x] = 254

    edit_map(segmentation, "s2", change)
    findings = verify(segmentation)
    assert findings.all_hold
    assert len(findings.warned["maps"]) == 1


def test_a_missing_and_a_foreign_map_are_named(segmentation):
    (segmentation / "maps" / "s0.png").rename(segmentation / "maps" / "other.png")
    failures = verify(segmentation).failed["maps"]
    assert ["s0.png is missing" in line or "other.png" in line for line in failures] == [True] * 2


def test_the_budget_of_the_maps_is_what_they_show(segmentation):
    edit_json(
        segmentation / "metrics.json",
        lambda document: document["maps"]["budget"].update(rgb=2),
    )
    assert any("states budget" in line for line in verify(segmentation).failed["maps"])


def test_a_key_that_is_there_twice_is_named(classification):
    path = classification / "metrics.json"
    path.write_text(path.read_text().replace('"task"', '"samples": 9, "task"', 1))
    assert "a key is there twice" in verify(classification).failed["files"][0]


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "certificates.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"[1, 2]"])
def test_a_file_that_is_missing_or_broken_is_named(classification, name, content):
    (classification / name).unlink()
    if content is not None:
        (classification / name).write_bytes(content)
    failures = verify(classification).failed
    assert any(name in line for lines in failures.values() for line in lines)


def test_a_checkpoint_that_is_gone_is_said_to_be_unchecked(classification):
    (classification / "best.ckpt").unlink()
    findings = verify(classification)
    assert findings.all_hold
    assert any(line.startswith("checkpoint (no file") for line in findings.skipped)


def test_votes_that_hold_objects_are_refused(classification):
    path = classification / "votes" / "s0.npz"
    np.savez(path, counts=np.array([{}], dtype=object))
    forget_hashes(classification)
    assert any("s0.npz" in line for line in verify(classification).failed["votes"])


def test_statistics_of_a_fixed_number_on_votes_that_stopped_by_themselves_are_named(
    classification,
):
    edit_json(
        classification / "votes" / "meta.json",
        lambda document: document.update(voting="sequential"),
    )
    failures = verify(classification).failed["metrics"]
    assert any("fixed before the votes" in line for line in failures)

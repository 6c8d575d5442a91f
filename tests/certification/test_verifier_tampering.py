"""What was changed in a run directory after it was written is caught, and named."""

import shutil

import numpy as np
import pytest

from mmcert.certification.verifier.verify import verify


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_a_run_that_nobody_changed_holds(edit_run, task):
    assert verify(edit_run(task).run).all_hold


def one_vote_moved(edit):
    def change(arrays):
        flat = arrays["counts"].reshape(len(arrays["counts"]), -1)
        flat[0, 0], flat[1, 0] = flat[1, 0], flat[0, 0]  # the sum stays

    edit.votes("s1", change)


def one_vote_moved_without_hashes(edit):
    one_vote_moved(edit)
    edit.forget_hashes()


def a_vote_too_many(edit):
    edit.votes("s1", lambda arrays: arrays["counts"].reshape(-1).__iadd__(1))
    edit.forget_hashes()


def a_byte_of_a_votes_file(edit):
    path = edit.run / "votes" / "s2.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def a_votes_file_removed(edit):
    (edit.run / "votes" / "s1.npz").unlink()


def a_votes_file_added(edit):
    shutil.copy(edit.run / "votes" / "s1.npz", edit.run / "votes" / "s9.npz")


def a_votes_file_removed_without_hashes(edit):
    a_votes_file_removed(edit)
    edit.forget_hashes()


def a_votes_file_added_without_hashes(edit):
    a_votes_file_added(edit)
    edit.forget_hashes()


def selection_votes_added(edit):
    """Labels chosen after looking at the votes."""

    def change(arrays):
        arrays["selection_counts"] = arrays["counts"]
        arrays["selection_draws"] = np.int64(arrays["counts"].sum(axis=0).flat[0])

    edit.votes("s0", change)
    edit.forget_hashes()


def k_in_the_meta(edit):
    edit.json("votes/meta.json", lambda meta: meta["modalities"]["rgb"].update(k=11))


def n_in_the_meta(edit):
    edit.json("votes/meta.json", lambda meta: meta["modalities"]["rgb"].update(n=400))


def draws_in_the_meta(edit):
    edit.json("votes/meta.json", lambda meta: meta.update(draws=61))


def the_fingerprint(edit):
    edit.json("run.json", lambda run: run.update(fingerprint="0" * 64))


def what_the_fingerprint_covers(edit):
    edit.json("run.json", lambda run: run["fingerprint_of"].update(draws=17))


def the_checkpoint(edit):
    (edit.run / "best.ckpt").write_bytes(b"other weights")


def a_threshold_lowered(edit):
    def change(document):
        document["thresholds"][0]["t"][4] -= 1e-15

    edit.json("metrics.json", change)


def in_all_entries(edit, **changes):
    edit.json("metrics.json", lambda doc: [entry.update(**changes) for entry in doc["results"]])


def alpha_in_the_metrics(edit):
    in_all_entries(edit, alpha=0.05)


def alpha_lowered_everywhere(edit):
    """A stronger promise than the votes keep."""
    in_all_entries(edit, alpha=1e-9)
    (edit.run / "config.yaml").write_text("alpha: 1.0e-09")


def draws_of_an_entry(edit):
    in_all_entries(edit, draws=1000)


def the_threat(edit):
    in_all_entries(edit, threat={"rgb": "deletion", "depth": "modification"})


def joint_where_it_is_each(edit):
    edit.entry(lambda entry: entry.update(over_budgets="joint"), "holm")


def the_alpha_in_a_promise(edit):
    edit.entry(
        lambda entry: entry["reading"].update(promise="with probability at least 1 - 1e-09"),
        "holm",
    )


def weights_that_sum_to_more(edit):
    edit.entry(lambda entry: entry["reading"].update(weights=[5.0, 1.0]), "closed_evalues")


def weights_that_sum_to_two(edit):
    edit.entry(lambda entry: entry["reading"].update(weights=[1.0, 1.0]), "closed_evalues")


def a_row_removed(edit):
    edit.rows(lambda rows: rows.pop(0))


def a_row_twice(edit):
    edit.rows(lambda rows: rows.append(rows[0]))


def draws_of_a_row(edit):
    edit.rows(lambda rows: rows[0].update(draws=10**6))


CHANGES = [
    (one_vote_moved, "s1.npz: SHA-256"),
    (one_vote_moved_without_hashes, "sample s1"),
    (a_vote_too_many, "s1.npz"),
    (a_byte_of_a_votes_file, "s2.npz: SHA-256"),
    (a_votes_file_removed, "s1.npz is missing"),
    (a_votes_file_added, "s9.npz: run.json does not list it"),
    (a_votes_file_removed_without_hashes, "sample s1"),
    (a_votes_file_added_without_hashes, "sample s9"),
    (selection_votes_added, "sample s0"),
    (k_in_the_meta, "rgb keeps k = 11, run.json: fingerprint_of says 12"),
    (n_in_the_meta, "n is {'rgb': 200, 'depth': 200}, derived {'rgb': 400"),
    (draws_in_the_meta, "61"),
    (the_fingerprint, "run.json: fingerprint 000"),
    (what_the_fingerprint_covers, "run.json: fingerprint "),
    (the_checkpoint, "best.ckpt: SHA-256"),
    (a_threshold_lowered, "{'rgb': 1, 'depth': 2}: claimed"),
    (alpha_in_the_metrics, "alpha is 0.05, config.yaml says 0.01"),
    (alpha_lowered_everywhere, "metrics.json: results[0]"),
    (draws_of_an_entry, "draws is 1000"),
    (the_threat, "cannot be certified with encoding 'zero'"),
    (joint_where_it_is_each, "holm holds for each budget by itself"),
    (the_alpha_in_a_promise, "the alpha in its promise is 1e-09, derived 0.01"),
    (weights_that_sum_to_more, "not all between 0 and 1"),
    (weights_that_sum_to_two, "sum to more than 1"),
    (a_row_removed, "the row is missing"),
    (a_row_twice, "a row twice"),
    (draws_of_a_row, "draws is 1000000"),
]


@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[one.__name__ for one, _ in CHANGES])
def test_a_change_is_named(edit_run, task, change, said):
    edit = edit_run(task)
    change(edit)
    findings = verify(edit.run)
    failures = [line for lines in findings.failed.values() for line in lines]
    assert any(said in line for line in failures), failures
    assert "FAILED" in "\n".join(findings.lines())


@pytest.mark.parametrize("key", ["fingerprint_of", "votes_sha256", "checkpoint_sha256"])
def test_what_certify_always_records_must_be_there(edit_run, key):
    edit = edit_run("classification")
    edit.json("run.json", lambda run: run.pop(key))
    assert verify(edit.run).skipped
    edit.json("run.json", lambda run: run.update(command="certify"))
    failures = verify(edit.run).failed["description"]
    assert any(f"run.json: {key} is gone" in line for line in failures)


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "certificates.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense", b"[1, 2]"])
def test_a_file_that_is_missing_or_broken_is_named(edit_run, name, content):
    run = edit_run("classification").run
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    failures = verify(run).failed
    assert any(name in line for lines in failures.values() for line in lines)


def test_a_key_that_is_there_twice_is_named(edit_run):
    run = edit_run("classification").run
    path = run / "metrics.json"
    path.write_text(path.read_text().replace('"task"', '"samples": 9, "task"', 1))
    assert "a key is there twice" in verify(run).failed["files"][0]


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "votes/meta.json"])
@pytest.mark.parametrize("value", [None, 7, "x", [1], {"a": 1}])
def test_values_of_another_kind_never_hold_nor_crash(edit_run, name, value):
    edit = edit_run("classification")
    original = (edit.run / name).read_text()
    keys = []
    edit.json(name, lambda document: keys.extend(document))
    # Free text, or absent: nothing is derived from these.
    free = {"command", "versions", "timings", "extra", "precision", "seeds", "draws_per_second"}
    free |= {"votes", "target", "enumeration", "fingerprint", "checkpoint", "schema"}
    free |= {"votes_sha256", "checkpoint_sha256", "fingerprint_of", "voting", "ignore_index"}
    for key in keys:
        (edit.run / name).write_text(original)
        edit.json(name, lambda document, key=key: document.update({key: value}))
        assert not verify(edit.run).all_hold or key in free, key


def test_a_checkpoint_that_is_gone_is_said_to_be_unchecked(edit_run):
    run = edit_run("classification").run
    (run / "best.ckpt").unlink()
    findings = verify(run)
    assert findings.all_hold
    assert any(line.startswith("checkpoint (no file") for line in findings.skipped)


def test_votes_that_hold_objects_are_refused(edit_run):
    edit = edit_run("classification")
    np.savez(edit.run / "votes" / "s0.npz", counts=np.array([{}], dtype=object))
    edit.forget_hashes()
    assert any("s0.npz" in line for line in verify(edit.run).failed["votes"])


def test_statistics_of_a_fixed_number_on_votes_that_stopped_by_themselves_are_named(edit_run):
    edit = edit_run("classification")
    edit.json("votes/meta.json", lambda meta: meta.update(voting="sequential"))
    failures = verify(edit.run).failed["metrics"]
    assert any("fixed before the votes" in line for line in failures)

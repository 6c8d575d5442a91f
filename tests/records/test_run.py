"""Run descriptions, certificates, metrics and maps: what is written comes back."""

import json

import numpy as np
import pytest
from PIL import Image

from mmcert.errors import RecordError
from mmcert.records.certificates import Certificate, read_certificates, write_certificates
from mmcert.records.maps import write_map
from mmcert.records.metrics_file import read_metrics, write_metrics
from mmcert.records.run import RunDescription, fingerprint, read_run, write_run

FACTS = {"scheme": "mmcert", "k": {"rgb": 5}, "draws": 100, "ids": ["a", "b"]}
RUN = RunDescription(
    "certify",
    "segmentation",
    "mmcert",
    {"rgb": "pixel"},
    "fp32",
    {"voting": 0},
    fingerprint(FACTS),
    FACTS,
)


def test_a_run_comes_back(tmp_path):
    write_run(tmp_path, RUN)
    assert read_run(tmp_path) == RUN


def test_a_run_changed_after_it_was_written_is_refused(tmp_path):
    write_run(tmp_path, RUN)
    path = tmp_path / "run.json"
    document = json.loads(path.read_text())
    document["fingerprint_of"]["k"]["rgb"] = 6
    path.write_text(json.dumps(document))
    with pytest.raises(RecordError, match="changed after"):
        read_run(tmp_path)


def test_a_run_of_another_schema_is_refused(tmp_path):
    write_run(tmp_path, RUN)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(RecordError, match="schema 2"):
        read_run(tmp_path)


def test_a_fingerprint_covers_plain_data_only():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1})
    with pytest.raises(RecordError, match="plain data"):
        fingerprint({"a": object()})


ROWS = [
    Certificate(
        "a", "binomial", 1, 1, False, 100, {"rgb": 9, "depth": 4}, {"rgb": 2, "depth": 0},
        [3, 97], 0.9, [{"rgb": 1, "depth": 4}, {"rgb": 0, "depth": 4}], None,
    ),
    Certificate("b", "holm", None, None, True, 100, {"rgb": 9}, {"rgb": 2}, hist=[[1, 0], [0, 4]]),
]  # fmt: skip


def test_certificates_come_back_with_their_facts(tmp_path):
    write_certificates(tmp_path / "c.parquet", ROWS, {"voting": "fixed"})
    assert read_certificates(tmp_path / "c.parquet") == (ROWS, {"voting": "fixed"})


def test_broken_certificates_are_refused_by_file(tmp_path):
    path = tmp_path / "c.parquet"
    with pytest.raises(RecordError, match="no certificates"):
        read_certificates(path)
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(RecordError, match=r"c\.parquet: corrupt"):
        read_certificates(path)


def document():
    head = {
        "statistics": "holm",
        "claim": "robust",
        "guarantee": "per_sample",
        "family": "sample",
        "over_budgets": "each",
        "alpha": 0.001,
        "draws": 10,
        "threat": {"rgb": "modification"},
    }
    grid = [{"budget": {"rgb": r}, "certified_recall": None} for r in (0, 1)]
    results = [{**head, "grid": grid}, {**head, "grid": []}]
    return {
        "schema": 1,
        "task": "segmentation",
        "scheme": "mmcert",
        "samples": 2,
        "results": results,
    }


def test_metrics_come_back_with_one_budget_per_line(tmp_path):
    write_metrics(tmp_path / "metrics.json", document())
    assert read_metrics(tmp_path / "metrics.json") == document()
    lines = (tmp_path / "metrics.json").read_text().splitlines()
    assert '        {"budget": {"rgb": 1}, "certified_recall": null}' in lines


def test_incomplete_metrics_are_refused(tmp_path):
    broken = document()
    del broken["results"][1]["guarantee"]
    write_metrics(tmp_path / "metrics.json", broken)
    with pytest.raises(RecordError, match=r"results\[1\] lacks guarantee"):
        read_metrics(tmp_path / "metrics.json")


def test_a_map_is_a_png_that_others_read(tmp_path):
    classes = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_map(tmp_path / "a.png", classes, {"budget": "rgb 5"})
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        assert image.text == {"budget": "rgb 5"}
        assert np.array_equal(np.asarray(image), classes)


def test_a_map_holds_bytes_in_two_axes(tmp_path):
    for wrong in (np.zeros(3, int), np.full((2, 2), 256), np.full((2, 2), -1)):
        with pytest.raises(RecordError, match="map"):
            write_map(tmp_path / "a.png", wrong)

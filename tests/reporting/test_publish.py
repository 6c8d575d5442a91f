"""What lies in the folder afterwards: one HTML file that needs nothing else, and the figures."""

import base64
import html
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mmcert.errors import ConfigError, RecordError
from mmcert.records.certificates import read_certificates, write_certificates
from mmcert.reporting.publish import publish
from mmcert.reporting.report import build_report
from mmcert.reporting.rounding import rounded_down


class Page(HTMLParser):
    """Every tag with its attributes, and the text of table cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self._open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag == "td"
        if self._open:
            self.cells.append("")

    def handle_endtag(self, tag):
        self._open = self._open and tag != "td"

    def handle_data(self, data):
        if self._open:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def published(pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    report = build_report(pair, ray={"rgb": 1, "depth": 2})
    index = publish(report, out)
    return report, out, index.read_text(encoding="utf-8")


def test_every_figure_is_there_as_png_and_pdf_and_is_no_blank(published):
    _, out, _ = published
    names = {path.stem for path in (out / "figures").glob("*.png")}
    assert {"certified_vs_budget", "heatmap_holm_per_sample", "sample", "claims"} <= names
    for name in names:
        pixels = np.asarray(Image.open(out / "figures" / f"{name}.png").convert("L"))
        assert min(pixels.shape) > 300
        assert pixels.std() > 10
        assert (out / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_the_page_needs_no_network_and_runs_no_script(published):
    page = Page(published[2])
    sources = [a.get("src") or a.get("href") for _, a in page.tags if "src" in a or "href" in a]
    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert "default-src 'none'" in published[2]


def test_the_figures_in_the_page_are_the_files(published):
    _, out, text = published
    inside = {base64.b64decode(m) for m in re.findall(r"data:image/png;base64,([^\"]+)", text)}
    assert inside == {path.read_bytes() for path in (out / "figures").glob("*.png")}


def test_every_picture_has_words_for_those_who_cannot_see_it(published):
    alts = [a["alt"] for tag, a in Page(published[2]).tags if tag == "img"]
    assert len(alts) >= 4
    assert all(len(alt) > 40 for alt in alts)
    assert any("MMCert: 0." in alt for alt in alts)


def test_the_tables_hold_the_numbers_of_metrics_json_rounded_down(published, pair):
    cells = [cell.rstrip("*") for cell in Page(published[2]).cells]
    for folder in pair:
        document = json.loads((folder / "metrics.json").read_text())
        for result in document["results"]:
            for point in result["grid"]:
                for metric, value in point.items():
                    if isinstance(value, float) and metric.startswith("certified"):
                        assert rounded_down(value) in cells


def test_each_number_comes_with_what_it_guarantees(published):
    text = html.unescape(published[2])
    for field in ("guarantee", "family", "over_budgets", "alpha", "draws", "threat", "claim"):
        assert f"<code>{field}</code>" in text
    assert "so no radius is quoted from it" in text
    assert "A number, not a set" in text
    assert "The votes shown chose it: an illustration" in text
    assert "pixel of the depth map" in text
    assert "voting 1 min 15 s" in text
    assert "modification of rgb and modification of depth" in text


def test_the_page_explains_the_crossover(published):
    assert "the attack concentrates on rgb, the modality that keeps more" in published[2]


def test_hostile_text_from_a_folder_is_shown_and_never_run(tmp_path, segmentation_run):
    grid = [{"rgb": 0, "depth": 0}, {"rgb": 1, "depth": 2}]
    folder = segmentation_run(tmp_path / "$run$", ids=("a",), statistics=("holm",), grid=grid)
    attack = "<script>alert(1)</script>"
    (folder / "config.yaml").write_text(f"data: {{name: '{attack}', split: '\"><img src=x>'}}\n")
    run = json.loads((folder / "run.json").read_text())
    run["precision"], run["elements"] = attack, {"rgb": attack, "depth": attack}
    (folder / "run.json").write_text(json.dumps(run))
    meta = json.loads((folder / "votes" / "meta.json").read_text())
    meta["modalities"]["rgb"]["element"] = attack
    meta["class_names"] = [attack, r"$\frac{road"]
    (folder / "votes" / "meta.json").write_text(json.dumps(meta))
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["results"][0]["reading"]["promise"] = attack
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text = publish(build_report([folder]), tmp_path / "out").read_text()
    assert "<script" not in text.lower()
    assert html.escape(attack) in text
    assert [a for tag, a in Page(text).tags if tag == "img" and a["src"] == "x"] == []


@pytest.mark.parametrize("bad", ["../../etc/passwd", "<b>x</b>", "/tmp/x", "a=b"])
def test_an_id_that_is_none_is_refused(tmp_path, pair, bad):
    folder = tmp_path / "run"
    shutil.copytree(pair[0], folder)
    rows, facts = read_certificates(folder / "certificates.parquet")
    object.__setattr__(rows[0], "id", bad)
    write_certificates(folder / "certificates.parquet", rows, facts)
    with pytest.raises(RecordError, match="cannot be a sample id"):
        build_report([folder])


def test_a_link_in_the_data_folder_that_is_no_image_is_left_out(tmp_path, segmentation_run):
    secret = tmp_path / "secret.txt"
    secret.write_text("not an image")
    images = tmp_path / "data" / "image_2"
    images.mkdir(parents=True)
    (images / "um_000001.png").symlink_to(secret)
    run = segmentation_run(
        tmp_path / "run",
        ids=("um_000001",),
        data_root=tmp_path / "data",
        statistics=("holm",),
        grid=[{"rgb": 0, "depth": 0}, {"rgb": 1, "depth": 2}],
    )
    text = publish(build_report([run]), tmp_path / "out").read_text()
    assert "Its input is not shown" in text


def test_the_report_of_a_run_without_votes_and_data_still_works(tmp_path, segmentation_run):
    folder = segmentation_run(tmp_path / "run", statistics=("holm",))
    shutil.rmtree(folder / "votes")
    (folder / "config.yaml").unlink()
    out = tmp_path / "out"
    text = publish(build_report([folder]), out).read_text()
    assert "Its input is not shown" in text
    assert "certified at r_rgb = 0" in re.sub(r"</?(var|sub)>", "", text).replace("rrgb", "r_rgb")
    assert (out / "figures" / "sample.png").is_file()


def test_a_sample_without_a_map_is_refused_with_those_that_have_one(tmp_path, pair):
    with pytest.raises(ConfigError, match="um_000001"):
        publish(build_report(pair), tmp_path, sample="um_999999")


def test_an_unfinished_run_directory_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"no metrics\.json"):
        build_report([tmp_path])


def test_a_classification_report_has_a_row_per_sample(tmp_path, classification_run):
    runs = [
        classification_run(tmp_path / name, name, samples=12, seed=seed, statistics=("binomial",))
        for seed, name in enumerate(("mmcert", "randomized_ablation"))
    ]
    text = publish(build_report(runs), tmp_path / "out").read_text()
    assert text.count('<th scope="row">clip_') == 12
    assert "maximal certified budgets" in text
    assert not (tmp_path / "out" / "figures" / "sample.png").exists()


def test_two_reports_of_the_same_runs_are_the_same_bytes(tmp_path, segmentation_run):
    grid = [{"rgb": 0, "depth": 0}, {"rgb": 1, "depth": 2}]
    run = segmentation_run(tmp_path / "run", ids=("a", "b"), statistics=("holm",), grid=grid)
    texts = [publish(build_report([run]), tmp_path / n).read_bytes() for n in ("x", "y")]
    assert texts[0] == texts[1]


def test_unlabelled_data_give_a_report_of_stable_claims(tmp_path, segmentation_run):
    run = segmentation_run(tmp_path / "run", labelled=False, statistics=("holm",))
    report = build_report([run])
    assert report.metric == "stable_rate"
    text = publish(report, tmp_path / "out").read_text()
    assert "keeps the label it gives now" in text
    assert "Certified F-score" not in text


@pytest.mark.parametrize("names", [("rgb",), ("rgb", "depth", "lidar")])
def test_any_number_of_modalities_can_be_reported(tmp_path, segmentation_run, names):
    k = dict.fromkeys(names, 60)
    grid = [dict.fromkeys(names, r) for r in range(4)]
    run = segmentation_run(
        tmp_path / "run", k=k, grid=grid, elements={}, statistics=("holm",), ids=("a",)
    )
    report = build_report([run])
    publish(report, tmp_path / "out")
    assert report.ray.direction == (1,) * len(names)
    assert not list((tmp_path / "out" / "figures").glob("heatmap*"))

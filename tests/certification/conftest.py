import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmcert.certification.evaluate import evaluate
from mmcert.records.meta import VotesMeta
from mmcert.records.run import RunDescription, fingerprint, write_run
from mmcert.records.votes import SampleVotes, votes_sha256, write_meta, write_sample
from mmcert.theory.schemes import make_scheme

N_ELEMENTS = {"rgb": 200, "depth": 200}
K = {"rgb": 12, "depth": 3}
ELEMENTS = {"rgb": "pixel (all channels)", "depth": "pixel"}


class Votes(list):
    """Samples in memory with their meta, and a way to put them on disk."""

    def __init__(self, samples, meta):
        super().__init__(samples)
        self.meta = meta

    def write(self, folder):
        write_meta(folder, self.meta)
        for sample in self:
            write_sample(folder, sample, self.meta)
        return folder


@pytest.fixture(scope="session")
def make_scheme_of():
    def make(name="mmcert", n=None, k=None):
        return make_scheme(name, n or N_ELEMENTS, k=k or K, elements=ELEMENTS)

    return make


@pytest.fixture(scope="session")
def make_votes(make_scheme_of):
    """Votes from hand-written counts: a list of samples, each counts and optionally a target."""

    def make(task, samples, *, classes=2, schemes=None, selection=None, **options):
        made = []
        for index, (counts, target) in enumerate(samples):
            counts = np.asarray(counts)
            chosen = None if selection is None else np.asarray(selection[index])
            made.append(
                SampleVotes(
                    id=f"s{index}",
                    counts=counts,
                    target=None if target is None else np.asarray(target),
                    draws=int(counts.sum(axis=0).flat[0]),
                    scheme=make_scheme_of() if schemes is None else schemes[index],
                    selection_counts=chosen,
                    selection_draws=None if chosen is None else int(chosen.sum(axis=0).flat[0]),
                )
            )
        modalities = made[0].scheme.modalities
        meta = VotesMeta(task, made[0].scheme.name, modalities, made[0].draws, classes, **options)
        return Votes(made, meta)

    return make


@pytest.fixture(scope="session")
def random_votes(make_votes):
    """Random votes of a fairly good base model."""

    def make(
        task, samples=4, classes=2, draws=60, shape=(6, 7), seed=0, unlabelled=True, **options
    ):
        rng = np.random.default_rng(seed)
        made, chosen = [], []
        for _ in range(samples):
            size = shape if task == "segmentation" else ()
            target = rng.integers(0, classes, size)
            p = np.where(rng.random(size) < 0.7, 1 - rng.exponential(0.02, size), rng.random(size))
            p = np.clip(p, 0, 1)
            probabilities = np.where(
                np.arange(classes) == np.asarray(target)[..., None],
                p[..., None],
                (1 - p[..., None]) / (classes - 1),
            )
            counts = np.moveaxis(rng.multinomial(draws, probabilities), -1, 0)
            chosen.append(np.moveaxis(rng.multinomial(9, probabilities), -1, 0))
            if unlabelled and task == "segmentation":
                target = np.where(rng.random(size) < 0.15, 255, target)
            made.append((counts, target))
        if options.pop("select", False):
            options["selection"] = chosen
        return make_votes(task, made, classes=classes, **options)

    return make


GRID = [{"rgb": a, "depth": b} for a in (0, 1, 2, 5, 9) for b in (0, 2, 20)]


@pytest.fixture(scope="session")
def write_run_of():
    """Writes a run directory as the commands leave it, from votes in memory; gives its metrics."""

    def write(run, votes, *, one_number_of_draws=True, **settings):
        meta = votes.meta
        votes.write(run / "votes")
        alpha = settings.setdefault("alpha", 0.01)
        document = evaluate(votes, meta, out=run, **{"budgets": GRID, **settings})
        (run / "best.ckpt").write_bytes(b"weights")
        facts = {
            "scheme": {"name": meta.scheme, "k": {m.name: m.k for m in meta.modalities}},
            "mode": meta.voting,
            "draws": meta.draws,
            "selection_draws": votes[0].selection_draws or 0,
            "checkpoint_sha256": hashlib.sha256(b"weights").hexdigest(),
        }
        if not one_number_of_draws:
            del facts["draws"]
        description = RunDescription(
            "evaluate",
            meta.task,
            meta.scheme,
            {modality.name: modality.element for modality in meta.modalities},
            stopping=meta.voting,
            fingerprint=fingerprint(facts),
            fingerprint_of=facts,
            checkpoint=str(run / "best.ckpt"),
            checkpoint_sha256=facts["checkpoint_sha256"],
            votes_sha256={s.id: votes_sha256(run / "votes", s.id) for s in votes},
        )
        write_run(run, description)
        encoding = {"name": "zero"} if settings.get("kinds") is None else {"name": "compact"}
        config = {"alpha": alpha, "encoding": encoding}
        (run / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        return document

    return write


@pytest.fixture
def make_run(tmp_path, write_run_of):
    """A run directory of this test, and its metrics."""

    def make(votes, **settings):
        return tmp_path / "run", write_run_of(tmp_path / "run", votes, **settings)

    return make


class Edit:
    """Changes in the files of a run directory, made after they were written."""

    def __init__(self, run):
        self.run = run

    def json(self, name, change):
        document = json.loads((self.run / name).read_text())
        change(document)
        (self.run / name).write_text(json.dumps(document))

    def votes(self, sample_id, change):
        path = self.run / "votes" / f"{sample_id}.npz"
        arrays = dict(np.load(path))
        change(arrays)
        np.savez_compressed(path, **arrays)

    def forget_hashes(self):
        """As if the run recorded none: what the votes say must be enough."""
        self.json("run.json", lambda document: document.update(votes_sha256={}))

    def rows(self, change):
        path = self.run / "certificates.parquet"
        table = pq.read_table(path)
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)

    def map(self, sample_id, change):
        path = self.run / "maps" / f"{sample_id}.png"
        with Image.open(path) as image:
            pixels, facts = np.array(image), PngInfo()
            for key, value in image.text.items():
                facts.add_text(key, value)
        change(pixels)
        Image.fromarray(pixels).save(path, pnginfo=facts)

    def entry(self, change, statistics, claim="robust"):
        """Change the first entry of ``metrics.json`` of that kind."""

        def found(document):
            change(
                next(
                    entry
                    for entry in document["results"]
                    if (entry["statistics"], entry["claim"]) == (statistics, claim)
                )
            )

        self.json("metrics.json", found)


@pytest.fixture(scope="session")
def written_runs(tmp_path_factory, random_votes, write_run_of):
    folder = tmp_path_factory.mktemp("written")
    statistics = {"bonferroni": {}, "holm": {}, "closed_evalues": {}, "binomial": {}}
    votes = random_votes("segmentation", draws=200)
    write_run_of(folder / "segmentation", votes, statistics=statistics)
    statistics = {"binomial": {}, "margin": {}, "holm": {}, "closed_evalues": {}}
    votes = random_votes("classification", classes=3, samples=8)
    write_run_of(folder / "classification", votes, statistics=statistics)
    return folder


@pytest.fixture
def edit_run(tmp_path, written_runs):
    """A copy of a run of a task, ready to be changed."""

    def copy(task):
        run = shutil.copytree(written_runs / task, tmp_path / "run")
        edit = Edit(run)
        path = str(run / "best.ckpt")
        edit.json("run.json", lambda document: document.update(checkpoint=path))
        return edit

    return copy

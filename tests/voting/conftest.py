"""A tiny base model and data set, as a script of their own: spawned processes import it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TINY = """
import json, sys, time
from pathlib import Path
import torch
from mmcert.errors import MmcertError
from mmcert.records.votes import VotesMeta, write_meta
from mmcert.theory.modality import InputSpec
from mmcert.voting.ballot import Ballot, draws_of_all
from mmcert.voting.run import vote
from mmcert.voting.settings import SchemeSpec, VotingSettings


class Dataset:
    classes = ("a", "b", "c")
    inputs = {
        "image": InputSpec((None, 6), (0, 1), "pixel"),
        "audio": InputSpec((8, 4), (0,), "chunk of 4 samples"),
    }

    def __init__(self, task, samples):
        self.task = task
        self.ids = tuple(f"s{i:02d}" for i in range(samples))

    def __getitem__(self, index):
        make = torch.Generator().manual_seed(index)
        rows = 5 + index % 2  # sizes vary
        image = torch.rand(rows, 6, generator=make)
        target = torch.tensor(index % 3)
        if self.task == "segmentation":
            target = torch.randint(0, 3, (rows, 6), generator=make)
        audio = torch.rand(8, 4, generator=make)
        return {"id": self.ids[index], "inputs": {"image": image, "audio": audio},
                "target": target, "meta": {}}


class Model(torch.nn.Module):
    default_block = 4

    def __init__(self, task, delay, broken):
        super().__init__()
        torch.manual_seed(0)
        self.task, self.delay, self.broken = task, delay, broken
        self.net = torch.nn.Linear(10, 3)

    def prepare(self, sample):
        return sample

    def label(self, state, subsets):
        time.sleep(self.delay)
        if state["id"] == self.broken:
            raise MmcertError("the logits are not finite.")
        image = state["inputs"]["image"]
        seen = image * subsets["image"].mask.view(-1, *image.shape)
        heard = state["inputs"]["audio"] * subsets["audio"].mask[..., None]
        audio = heard.sum(1)[:, None].expand(-1, len(image), -1)
        logits = self.net(torch.cat([seen, audio], -1))
        if self.task == "classification":
            return logits.mean(1).argmax(-1)
        return (logits[:, :, None] * seen[..., None]).argmax(-1)


def build(config):
    return (Dataset(config["task"], config["samples"]),
            Model(config["task"], config["delay"], config["broken"]))


def main():
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    config = {"task": "classification", "samples": 3, "delay": 0, "broken": None} | options.pop(
        "config", {})
    settings = VotingSettings(**({"draws": 30, "block": 4, "processes": 1} | options))
    spec = SchemeSpec("mmcert", k={"image": 9, "audio": 3})
    dataset, _ = build(config)
    scheme = spec.for_sample(dataset[0], dataset.inputs)
    write_meta(folder, VotesMeta(config["task"], "mmcert", scheme.modalities, settings.draws, 3))
    draws = draws_of_all(dataset.ids, settings)
    ballot = Ballot(build, config, dataset.ids, spec, settings, draws, 7, folder, "print")
    events = []
    turnout = vote(ballot, events.append)
    counted = sum(values["draws"] for kind, values in events if kind == "draws")
    print(json.dumps({"draws": turnout.draws, "counted": counted, "world": turnout.processes}))


if __name__ == "__main__":
    main()
"""


class Tiny:
    """The tiny voting script; ``run`` waits for it, ``start`` does not."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "tiny_voting.py"
        self.script.write_text(TINY)

    def start(self, folder: Path, options: str) -> subprocess.Popen:
        folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, str(self.script), str(folder), options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, folder: Path, options: str) -> str:
        process = self.start(folder, options)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        return out


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tiny"))

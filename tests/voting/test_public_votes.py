import subprocess
import sys

import numpy as np
import pytest
import torch

from mmcert.errors import ConfigError, RecordError
from mmcert.records.folders import VotesFolders
from mmcert.voting.public_votes import import_public_votes

K = {"rgb": 20, "depth": 3}


@pytest.fixture
def public_file(tmp_path):
    make = torch.Generator().manual_seed(0)
    content = {
        "all_pred": torch.randint(0, 2, (7, 3, 6, 10), generator=make, dtype=torch.int32),
        "all_gt": torch.randint(0, 2, (1, 3, 6, 10), generator=make),
    }
    path = tmp_path / "net_all_outputs.pth"
    torch.save(content, path)
    return path, content


def test_every_vote_of_the_public_file_is_counted(public_file, tmp_path):
    path, content = public_file
    import_public_votes(path, tmp_path / "votes", scheme="mmcert", k=K)
    votes = VotesFolders([tmp_path / "votes"])
    assert votes.ids == ("image_0000", "image_0001", "image_0002")
    for index, sample in enumerate(votes):
        assert sample.draws == 7
        assert np.array_equal(sample.counts[1], content["all_pred"][:, index].sum(0))
        assert np.array_equal(sample.target, content["all_gt"][0, index])
        assert sample.scheme.modality("depth").n == 60
        assert sample.scheme.modality("depth").k == 3


def test_what_the_sampler_kept_must_be_said(public_file, tmp_path):
    with pytest.raises(ConfigError, match=r"scheme\.k"):
        import_public_votes(public_file[0], tmp_path / "votes", scheme="mmcert", k={})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"other": torch.zeros(2)}, "all_pred"),
        ({"all_pred": torch.zeros(2, 3)}, "all_pred must be integer"),
        (
            {"all_pred": torch.zeros(2, 3, 4, 5, dtype=torch.int32), "all_gt": torch.zeros(2)},
            "all_gt",
        ),
        ({"all_pred": print}, "plain tensors"),
    ],
)
def test_another_file_is_refused_with_the_reason(content, reason, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(RecordError, match=reason):
        import_public_votes(tmp_path / "x.pth", tmp_path / "votes", scheme="mmcert", k=K)
    assert not (tmp_path / "votes" / "meta.json").exists()


@pytest.mark.slow
def test_never_more_than_one_sample_is_in_memory(tmp_path):
    """1.2 GB of votes in a process that may allocate 600 MB beyond what torch takes."""
    path = tmp_path / "big.pth"
    torch.save({"all_pred": torch.zeros(100, 30, 200, 500, dtype=torch.int32)}, path)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from mmcert.voting.public_votes import import_public_votes\n"
        "def anonymous():\n"
        "    text = Path('/proc/self/status').read_text()\n"
        "    return int(text.split('RssAnon:')[1].split()[0])\n"
        "before, peak = anonymous(), []\n"
        "import_public_votes(sys.argv[1], Path(sys.argv[2]), scheme='mmcert',\n"
        "    k={'rgb': 20, 'depth': 3}, progress=lambda *_: peak.append(anonymous()))\n"
        "print((max(peak) - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "votes")],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert int(done.stdout) < 60  # megabytes; one image's votes are 40

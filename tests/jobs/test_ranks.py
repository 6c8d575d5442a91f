"""How many processes a training has, and whether those that are there are the ones asked for."""

import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.jobs.training.ranks import asked_ranks, process_group, run_ranks
from mmcert.voting.peers import PeerError, Peers
from mmcert.voting.started import Place

OUTSIDE = Place(0, 4, 0, starter="srun (step 7.0 on one)")
CPU = {"accelerator": "cpu"}


def test_a_training_that_starts_its_own_processes_has_its_devices():
    assert asked_ranks(CPU | {"devices": 2}, None) == 2
    with pytest.raises(ConfigError, match=r"num_nodes=2, but nothing has started processes"):
        asked_ranks(CPU | {"devices": 2, "num_nodes": 2}, None)


def test_processes_that_are_there_must_be_those_that_were_asked_for():
    assert asked_ranks(CPU | {"devices": 2, "num_nodes": 2}, OUTSIDE) == 4
    assert asked_ranks(CPU | {"devices": "auto"}, OUTSIDE) == 4
    with pytest.raises(ConfigError, match=r"ask for 1 .*srun \(step 7\.0 on one\) has started 4"):
        asked_ranks(CPU | {"devices": 1}, OUTSIDE)


def test_an_allocation_and_left_overs_start_no_waiting(monkeypatch, tmp_path):
    for name, value in {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    seen = run_ranks(lambda peers, report: peers.place, CPU | {"devices": 1}, tmp_path, print)
    assert seen == Place()


def test_an_operation_that_fails_because_another_process_died_says_which(monkeypatch):
    def closed(*arguments, **options):
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "init_process_group", closed)
    peers = Peers(Place(0, 2))
    peers.failure = lambda seconds: "rank 1 of 2 has died."
    peers.first = lambda value: value
    with pytest.raises(PeerError, match="rank 1 of 2 has died"), process_group(peers, CPU):
        pass
    peers.failure = lambda seconds: None
    with pytest.raises(RuntimeError, match="closed by peer"), process_group(peers, CPU):
        pass

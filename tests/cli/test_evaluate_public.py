"""mmcert-evaluate on the votes file of the public MMCert code."""

import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mmcert.cli._app import conf_dir
from mmcert.cli.evaluate import job as evaluate_votes
from mmcert.errors import ConfigError, RecordError


@pytest.fixture
def evaluated(tmp_path):
    def call(path, *overrides):
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose("evaluate", overrides=[f"votes={path}", *overrides])
            del config.run_dir
            config = OmegaConf.to_container(config, resolve=True)
        run_dir = tmp_path / "run"
        run_dir.mkdir(exist_ok=True)
        evaluate_votes(config, run_dir)
        return run_dir

    return call


def test_votes_of_the_public_code_are_certified_with_what_its_sampler_kept(
    evaluated, tmp_path, capsys
):
    path = tmp_path / "net_all_outputs.pth"
    truth = torch.zeros(1, 2, 20, 30, dtype=torch.int64)
    truth[:, :, 10:] = 1
    torch.save({"all_pred": truth.expand(100, 2, 20, 30).int(), "all_gt": truth}, path)
    with pytest.raises(ConfigError, match=r"scheme\.k"):
        evaluated(path)
    run_dir = evaluated(path, "scheme.k={rgb: 20, depth: 3}", "threat.budgets=[{rgb: 2, depth: 4}]")
    metrics = json.loads((run_dir / "metrics.json").read_text())
    holm = next(result for result in metrics["results"] if result["statistics"] == "holm")
    assert holm["grid"][0]["certified_f_score"] == 1.0
    assert "Holm step" in " ".join(capsys.readouterr().out.split())
    assert (run_dir / "votes" / "image_0001.npz").is_file()


def test_another_pth_file_is_refused_by_name(evaluated, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "net.pth")
    with pytest.raises(RecordError, match=r"net\.pth.*all_pred"):
        evaluated(tmp_path / "net.pth", "scheme.k={rgb: 20, depth: 3}")

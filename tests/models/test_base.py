"""What every base model promises to voting."""

import pytest
import torch

from mmcert.errors import ConfigError, DataError
from mmcert.models.base import BaseModel, NonFiniteLogitsError, check_finite
from mmcert.models.registry import build_model, encoding_by_modality, model_class
from mmcert.sampling.subsets import Subset


class Broken(BaseModel):
    modalities = ("image",)

    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))

    def logits(self, inputs, masks):
        return self.value * torch.ones(len(masks["image"]), 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_votes_stop_at_logits_that_are_not_finite_and_name_the_sample(value):
    model = Broken(value)
    state = model.prepare({"id": "um_000007", "inputs": {"image": torch.ones(2)}})
    with pytest.raises(NonFiniteLogitsError, match="um_000007"):
        model.label(state, {"image": Subset(torch.ones(4, 2, dtype=torch.bool))})


def test_finite_logits_whose_sum_overflows_are_fine():
    check_finite(torch.full((8,), 3e38), "a")


def test_a_sample_without_a_modality_is_refused():
    with pytest.raises(DataError, match=r"sample 'a' has the modalities \['audio'\]"):
        Broken(1.0).prepare({"id": "a", "inputs": {"audio": torch.ones(2)}})


def test_models_are_named_and_foreign_code_needs_leave():
    with pytest.raises(ConfigError, match=r"choose one of .*rgbd_fusion"):
        model_class("resnet")
    with pytest.raises(ConfigError, match=r"allow_code=\[os\]"):
        model_class("os.path:join")
    with pytest.raises(ConfigError, match="no subclass of"):
        model_class("os.path:join", allow_code=["os"])
    with pytest.raises(ConfigError, match="cannot be imported"):
        model_class("os.path:Nothing", allow_code=["os"])


def test_an_unknown_option_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"model\.options\.colour .* it has .*widths"):
        build_model("rgbd_fusion", inputs={}, classes=2, encoding={}, colour=1)


def test_every_modality_needs_an_encoding():
    with pytest.raises(ConfigError, match=r"encoding\.depth is not set"):
        encoding_by_modality({"rgb": {"name": "zero"}}, ["rgb", "depth"])

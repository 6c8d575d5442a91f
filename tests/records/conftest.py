import numpy as np
import pytest

from mmcert.records.meta import VotesMeta
from mmcert.records.votes import SampleVotes
from mmcert.theory.modality import Modality
from mmcert.theory.schemes import make_scheme


@pytest.fixture
def meta():
    """A segmentation run of 2 classes, 10 draws, 12 of 200 pixels in rgb, 3 of 200 in depth."""
    modalities = (Modality("rgb", 200, 12, "pixel"), Modality("depth", 200, 3, "pixel"))
    return VotesMeta("segmentation", "mmcert", modalities, draws=10, classes=2)


@pytest.fixture
def make_sample():
    """A sample with random votes."""

    def make(sample_id="a", draws=10, shape=(4, 5), classes=2, n=200, k=(12, 3), seed=0, **options):
        rng = np.random.default_rng(seed)
        first = rng.integers(0, draws + 1, shape)
        counts = np.zeros((classes, *shape), np.int64)
        counts[0], counts[1] = first, draws - first
        target = rng.integers(0, 2, shape)
        scheme = make_scheme(
            "mmcert",
            {"rgb": n, "depth": n},
            k={"rgb": k[0], "depth": k[1]},
            elements={"rgb": "pixel", "depth": "pixel"},
        )
        return SampleVotes(
            sample_id, counts, options.pop("target", target), draws, scheme, **options
        )

    return make

import numpy as np
import pytest
import torch

from mmcert.errors import DataError
from mmcert.voting.counting import VoteCounter


@pytest.mark.parametrize("shape", [(), (3, 5)])
def test_votes_are_counted_per_class_and_position(shape):
    labels = torch.randint(0, 4, (10, *shape), generator=torch.Generator().manual_seed(0))
    counter = VoteCounter(4, "a")
    for part in labels.split(3):
        counter.add(part)
    expected = np.stack([(labels == c).sum(0).numpy() for c in range(4)])
    assert np.array_equal(counter.counts(), expected)
    assert np.all(counter.counts().sum(0) == 10)


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_outside_the_classes_names_the_sample(label):
    counter = VoteCounter(4, "um_1")
    counter.add(torch.tensor([label]))
    counter.add(torch.tensor([2]))
    with pytest.raises(DataError, match=rf"'um_1'.*label {label}, outside of \[0, 4\)"):
        counter.counts()


def test_labels_of_another_shape_name_the_sample():
    counter = VoteCounter(2, "um_1")
    counter.add(torch.zeros(2, 3, 4, dtype=torch.int64))
    with pytest.raises(DataError, match="um_1"):
        counter.add(torch.zeros(2, 4, 3, dtype=torch.int64))

"""The encoding ``compact``: the retained elements of a draw, joined in their order.

No position, no number of elements and no value of an element that is not retained: sound against
modification, and the one encoding that is sound against addition, deletion and edits as well
(method section 1). Draws retain different numbers of elements where they share a pool, so a batch
of draws is one list of elements with the place where each draw begins ("bags").

Letters: ``B`` samples, ``R`` draws (draw ``j`` belongs to sample ``j // (R / B)``), ``n`` elements,
``S`` retained elements of all draws together, ``U`` different ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmcert.sampling.subsets import Subset


@dataclass(frozen=True)
class Bags:
    """The retained elements of ``R`` draws, one draw after the other.

    Attributes:
        rows: Rows of a table of elements, int64 (S,); within a draw in the order of the elements.
        offsets: Where each draw begins in ``rows``, int64 (R,).
        counts: Elements of each draw, int64 (R,); an integer where they are all equal.
    """

    rows: Tensor
    offsets: Tensor
    counts: Tensor | int


def bags_of(subset: Subset) -> Bags:
    """The bags of the draws of one sample, rows of a table (n, ...) of its elements.

    >>> mask = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    >>> bags = bags_of(Subset(mask))
    >>> bags.rows.tolist(), bags.offsets.tolist(), bags.counts.tolist()
    ([0, 2, 1], [0, 2, 2], [2, 0, 1])
    """
    if subset.indices is not None:
        draws, k = subset.indices.shape
        offsets = torch.arange(draws, device=subset.indices.device) * k
        return Bags(subset.indices.reshape(-1), offsets, k)
    return _bags(subset.mask.nonzero()[:, 1], subset.mask)


@dataclass(frozen=True)
class RetainedOnce:
    """The elements that a batch of draws retains, each different one once.

    Attributes:
        samples: The sample of each, int64 (U,).
        places: Its index among the elements of that sample, int64 (U,).
        bags: The draws, as rows of these ``U``.
    """

    samples: Tensor
    places: Tensor
    bags: Bags


def retained_once(mask: Tensor, batch: int) -> RetainedOnce:
    """What has to be encoded for a batch of draws, and where each draw finds it.

    Args:
        mask: Retained elements, bool (R, n).
        batch: B; R is a multiple of it.

    >>> mask = torch.tensor([[True, False, True], [True, False, False]])
    >>> once = retained_once(mask, 1)  # two draws of one sample
    >>> once.places.tolist(), once.bags.rows.tolist()
    ([0, 2], [0, 1, 0])
    >>> retained_once(mask, 2).bags.rows.tolist()  # one draw of each of two samples
    [0, 1, 2]
    """
    draws = len(mask) // batch
    union = mask.unflatten(0, (batch, draws)).any(1)  # (B, n)
    samples, places = union.nonzero(as_tuple=True)
    number = (union.flatten().cumsum(0) - 1).view_as(union)
    draw, place = mask.nonzero(as_tuple=True)
    return RetainedOnce(samples, places, _bags(number[draw // draws, place], mask))


def _bags(rows: Tensor, mask: Tensor) -> Bags:
    counts = mask.sum(1)
    return Bags(rows, counts.cumsum(0) - counts, counts)

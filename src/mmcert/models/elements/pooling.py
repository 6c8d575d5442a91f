"""Pooling over retained elements: their mean, and an average weighted by masked attention.

Letters: ``U`` elements of a table, ``R`` draws, ``D`` features, ``H`` width of the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcert.sampling.compact import Bags

#: Attention logits stay within plus and minus this, so that their exponentials need no maximum
#: over a draw: what an element contributes is fixed once, for all draws.
STRONGEST = 5.0


class RetainedPooling(nn.Module):
    """One modality's part of the head's input.

    Both averages are sums of what each element contributes, divided by sums: a draw costs one sum
    over the rows of its elements. The sum runs in their order over these rows alone, so it is the
    same to the last bit wherever they stand in the sample, and however long that is.

    Args:
        features: D.
        width: H.
        heads: Of the attention; each weighs ``H / heads`` of the values.
    """

    def __init__(self, features: int, width: int, heads: int) -> None:
        super().__init__()
        self._width, self._heads = width, heads
        self.contribute = nn.Linear(features, 2 * width + heads)
        #: The result where nothing is retained.
        self.absent = nn.Parameter(torch.zeros(width))
        #: What the number of retained elements (its logarithm) adds: an average of more is surer.
        self.number = nn.Parameter(torch.zeros(width))

    def table(self, features: Tensor) -> Tensor:
        """Features (U, D) to what each element contributes (U, 2 H + heads)."""
        contributed = self.contribute(features)
        if contributed.dtype in (torch.float16, torch.bfloat16):  # mixed precision: sums are not
            contributed = contributed.float()
        mean, value, score = self._parts(contributed)
        weight = torch.exp(STRONGEST * torch.tanh(score / STRONGEST))
        weighted = value.unflatten(1, (self._heads, -1)) * weight[..., None]
        return torch.cat((mean, weighted.flatten(1), weight), 1)

    def forward(self, table: Tensor, bags: Bags) -> Tensor:
        """The table (U, 2 H + heads) and the draws to (R, H)."""
        sums = F.embedding_bag(bags.rows, table, bags.offsets, mode="sum")
        mean, weighted, weight = self._parts(sums)
        if isinstance(bags.counts, int):
            if bags.counts == 0:
                return self.absent.expand(len(sums), -1)
            number = torch.full((1, 1), float(bags.counts), dtype=sums.dtype, device=sums.device)
        else:
            number = bags.counts.clamp(min=1).to(sums.dtype)[:, None]
            weight = torch.where(bags.counts[:, None] > 0, weight, 1.0)
        attended = (weighted.unflatten(1, (self._heads, -1)) / weight[..., None]).flatten(1)
        pooled = mean / number + attended + number.log() * self.number
        if isinstance(bags.counts, int):
            return pooled
        return torch.where(bags.counts[:, None] > 0, pooled, self.absent)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, value, score = x.split((self._width, self._width, self._heads), 1)
        return mean, value, score

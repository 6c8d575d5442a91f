"""What an encoder of elements is.

Letters: ``M`` elements (of any samples), ``D`` features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class ElementEncoder(nn.Module, ABC):
    """Features of one element, from its values and perhaps its place, and of nothing else.

    No normalisation over a batch or a sample: an element's features must be the same whatever is
    encoded beside it, or sub-samples that an attack leaves in common would not stay common.

    Args:
        shape: Of one element's values; a pixel (all channels) is ``(c,)``.
        places: Elements of a sample, whose places the features may depend on; None: they do not
            (encoding ``compact``).
        features: D.
    """

    def __init__(self, shape: tuple[int, ...], places: int | None, features: int) -> None:
        super().__init__()
        self.shape, self.features = shape, features

    @abstractmethod
    def forward(self, elements: Tensor, places: Tensor | None) -> Tensor:
        """Features of elements.

        Args:
            elements: float (M, *shape).
            places: int64 (M,), each element's index within its sample; None in ``compact``.

        Returns:
            float (M, D).
        """


class PlacedOutput(nn.Module):
    """The last layer of an encoder: hidden values and the place to features.

    Args:
        hidden: Width of the hidden values.
        places: As in :class:`ElementEncoder`.
        features: D.
    """

    def __init__(self, hidden: int, places: int | None, features: int) -> None:
        super().__init__()
        self.out = nn.Linear(hidden, features)
        self.place = None if places is None else nn.Parameter(torch.randn(places, features) * 0.1)

    def forward(self, hidden: Tensor, places: Tensor | None) -> Tensor:
        """(M, hidden), int64 (M,) or None to (M, D)."""
        x = self.out(hidden)
        if self.place is not None:
            assert places is not None
            x = x + self.place[places]
        return x.relu()

"""Which sub-samples the numbered draws of a sample are: random ones, or all there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mmcert.sampling.subsets import Subset, draw_subsets
from mmcert.theory.schemes import Scheme
from mmcert.voting.exhaustive import numbered_subsets

#: ``sampler(scheme, sample_id, stream, draws, device)``: a :class:`Subset` per modality.
Sampler = Callable[[Scheme, str, str, Sequence[int], torch.device | str], dict[str, Subset]]


def make_sampler(mode: str, seed: int) -> Sampler:
    """The sampler of a voting mode.

    Args:
        mode: ``fixed``, ``sequential`` or ``exhaustive``.
        seed: Of random draws.
    """

    def random(
        scheme: Scheme,
        sample_id: str,
        stream: str,
        draws: Sequence[int],
        device: torch.device | str,
    ) -> dict[str, Subset]:
        return draw_subsets(
            scheme, seed=seed, sample_id=sample_id, stream=stream, draws=draws, device=device
        )

    def every(
        scheme: Scheme,
        sample_id: str,
        stream: str,
        draws: Sequence[int],
        device: torch.device | str,
    ) -> dict[str, Subset]:
        return numbered_subsets(scheme, draws, device)

    return every if mode == "exhaustive" else random

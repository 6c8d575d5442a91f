"""One process's loop: units of the plan through the base model, counted, written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from mmcert.errors import MmcertError
from mmcert.theory.schemes import Scheme
from mmcert.voting.counting import VoteCounter
from mmcert.voting.draws import Sampler
from mmcert.voting.plan import STREAMS, Segment, Unit
from mmcert.voting.protocol import BaseModel, VotingDataset
from mmcert.voting.settings import SchemeSpec
from mmcert.voting.store import VoteStore

#: Called with the number of draws counted since the last call.
Progress = Callable[[int], None]


class Voter:
    """Votes of one base model on the samples of one data set.

    Args:
        dataset: The samples.
        model: In eval mode and on ``device``.
        scheme: What a draw retains.
        sampler: The sub-samples of numbered draws.
        block: Draws per forward pass, always that many (the last ones may not count).
        device: Where the model is.
        autocast: Context of a forward pass (mixed precision).
    """

    def __init__(
        self,
        dataset: VotingDataset,
        model: BaseModel,
        scheme: SchemeSpec,
        *,
        sampler: Sampler,
        block: int,
        device: torch.device | str = "cpu",
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._dataset = dataset
        self._model = model
        self._spec = scheme
        self._sampler = sampler
        self._block = block
        self._device = device
        self._autocast = autocast
        self._index: int | None = None
        self._sample: Mapping[str, Any] = {}
        self._scheme: Scheme | None = None
        self._state: Any = None

    def load(self, index: int) -> tuple[Mapping[str, Any], Scheme]:
        """The sample and its scheme; the last one is kept."""
        if self._index != index:
            self._index, self._state = None, None
            self._sample = self._dataset[index]
            self._scheme = self._spec.for_sample(self._sample, self._dataset.inputs)
            self._index = index
        assert self._scheme is not None
        return self._sample, self._scheme

    def labels(self, index: int, stream: str, first: int) -> torch.Tensor:
        """The labels of draws ``first`` to ``first + block - 1``.

        Raises:
            MmcertError: Naming the sample, where the base model refuses (NaN or infinite logits).
        """
        sample, scheme = self.load(index)
        sample_id = sample["id"]
        draws = range(first, first + self._block)
        try:
            with torch.inference_mode(), self._autocast():
                if self._state is None:
                    self._state = self._model.prepare(sample)
                subsets = self._sampler(scheme, sample_id, stream, draws, self._device)
                return self._model.label(self._state, subsets)
        except torch.cuda.OutOfMemoryError as error:
            raise MmcertError(
                f"sample '{sample_id}': {self._block} draws at a time do not fit into the memory "
                f"of {self._device}; set a smaller voting.block (in another run_dir)."
            ) from error
        except MmcertError as error:
            if sample_id in str(error):
                raise
            raise MmcertError(
                f"sample '{sample_id}', {stream} draws {first} to {draws[-1]}: {error}"
            ) from error

    def count(
        self, index: int, segments: Iterable[Segment], progress: Progress
    ) -> dict[str, np.ndarray]:
        """The counts of some segments of one sample, int64 ``(C,)`` or ``(C, H, W)`` per stream."""
        sample, _ = self.load(index)
        classes = len(self._dataset.classes)
        counters: dict[str, VoteCounter] = {}
        for segment in segments:
            counter = counters.setdefault(segment.stream, VoteCounter(classes, sample["id"]))
            for first, counted in segment.blocks(self._block):
                counter.add(self.labels(index, segment.stream, first)[:counted])
                progress(counted)
        return {stream: counter.counts() for stream, counter in counters.items()}

    def seconds_per_block(self, index: int) -> float:
        """Time of one block of the sample, measured on the second of two (the first warms up)."""
        seconds = 0.0
        for _ in range(2):
            began = time.perf_counter()
            self.labels(index, STREAMS[0], 0).cpu()
            seconds = time.perf_counter() - began
            if seconds > 10:
                break
        return seconds


def vote_units(units: Iterable[Unit], voter: Voter, store: VoteStore, progress: Progress) -> None:
    """Vote some units and write each: a whole sample at once, a part of one as a segment.

    Whoever writes the last segment of a sample merges them.
    """
    for unit in units:
        sample, scheme = voter.load(unit.index)
        counts = voter.count(unit.index, unit.segments, progress)
        if store.is_whole(unit.sample_id, unit.segments):
            store.write_sample(unit.sample_id, counts, sample.get("target"), scheme)
            continue
        for segment in unit.segments:
            store.write_segment(unit.sample_id, segment, counts[segment.stream])
        store.merge(unit.sample_id, sample.get("target"), scheme)

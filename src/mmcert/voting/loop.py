"""One process's loop: units of the plan through the base model, counted, written."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmcert.errors import MmcertError
from mmcert.sampling.subsets import Subset
from mmcert.theory.schemes import Scheme
from mmcert.voting.ahead import Ahead
from mmcert.voting.counting import INCOMPLETE, VoteCounter
from mmcert.voting.draws import Sampler
from mmcert.voting.plan import STREAMS, Segment, Unit
from mmcert.voting.protocol import BaseModel, VotingDataset
from mmcert.voting.settings import SchemeSpec
from mmcert.voting.store import VoteStore

#: Called with the number of draws counted since the last call.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class _Loaded:
    """A sample, ready to be voted."""

    index: int
    sample: Mapping[str, Any]
    scheme: Scheme
    state: Any


class Voter:
    """Votes of one base model on the samples of one data set.

    While the model computes, the next block is drawn and the next sample decoded and prepared, in
    a thread each; on a GPU the draws are made there, so only samples need a thread.

    Args:
        dataset: The samples; read by one thread at a time.
        model: In eval mode and on ``device``.
        scheme: What a draw retains.
        sampler: The sub-samples of numbered draws.
        block: Draws per forward pass, always that many (the last ones may not count); it may be
            set anew before anything is counted.
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
        self.block = block
        self._device = torch.device(device)
        self._autocast = autocast
        self._latest: list[_Loaded] = []
        self._lock = threading.Lock()
        start = _thread_like_this_one(self._device)
        self._samples = Ahead(self._read, start)
        self._blocks = Ahead(self._draw, start)

    def expect_samples(self, indices: Sequence[int]) -> None:
        """Tell which samples will be voted, in order; each is made ready during the one before."""
        with self._lock:
            order = (index for index, _ in itertools.groupby(indices))
            self._samples.expect(i for i in order if all(one.index != i for one in self._latest))

    def expect_draws(self, units: Iterable[Unit]) -> None:
        """Tell what will be counted, in order; each block is drawn during the one before."""
        if self._device.type == "cpu":  # elsewhere a call returns before the subsets are drawn
            self._blocks.expect(
                (unit.index, segment.stream, first)
                for unit in units
                for segment in unit.segments
                for first, _ in segment.blocks(self.block)
            )

    def load(self, index: int) -> tuple[Mapping[str, Any], Scheme]:
        """The sample and its scheme; the last two are kept."""
        loaded = self._load(index)
        return loaded.sample, loaded.scheme

    def _load(self, index: int) -> _Loaded:
        with self._lock:  # asked for by this thread and by the one that draws
            for loaded in self._latest:
                if loaded.index == index:
                    return loaded
            del self._latest[:-1]  # before another one is there
            loaded = self._samples(index)
            self._latest.append(loaded)
            return loaded

    def _read(self, index: int) -> _Loaded:
        sample = self._dataset[index]
        scheme = self._spec.for_sample(sample, self._dataset.inputs)
        if self._device.type == "cuda":
            pinned = {name: x.pin_memory() for name, x in sample["inputs"].items()}
            sample = {**sample, "inputs": pinned}
        with self._refusals(sample["id"], "the sample"), self._inference():
            return _Loaded(index, sample, scheme, self._model.prepare(sample))

    def _draw(self, key: tuple[int, str, int]) -> tuple[_Loaded, dict[str, Subset]]:
        index, stream, first = key
        loaded = self._load(index)
        sample_id, draws = loaded.sample["id"], range(first, first + self.block)
        with self._refusals(sample_id, f"{stream} draws"):
            return loaded, self._sampler(loaded.scheme, sample_id, stream, draws, self._device)

    def labels(self, index: int, stream: str, first: int) -> torch.Tensor:
        """The labels of draws ``first`` to ``first + block - 1``.

        Raises:
            MmcertError: Naming the sample, where the base model refuses (NaN or infinite logits).
        """
        key = (index, stream, first)
        loaded, subsets = self._blocks(key) if self._device.type == "cpu" else self._draw(key)
        what = f"{stream} draws {first} to {first + self.block - 1}"
        with self._refusals(loaded.sample["id"], what), self._inference():
            labels = self._model.label(loaded.state, subsets)
            for subset in subsets.values():
                if subset.complete is not None:
                    labels = torch.where(subset.complete, labels, INCOMPLETE)
            return labels

    @contextlib.contextmanager
    def _inference(self) -> Iterator[None]:
        with torch.inference_mode(), self._autocast():
            yield

    @contextlib.contextmanager
    def _refusals(self, sample_id: str, what: str) -> Iterator[None]:
        """Name the sample in what the base model raises."""
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            raise MmcertError(
                f"sample '{sample_id}': {self.block} draws at a time do not fit into the memory "
                f"of {self._device}; set a smaller voting.block (in another run_dir)."
            ) from error
        except MmcertError as error:
            if sample_id in str(error):
                raise
            raise MmcertError(f"sample '{sample_id}', {what}: {error}") from error

    def count(
        self, index: int, segments: Iterable[Segment], progress: Progress
    ) -> dict[str, np.ndarray]:
        """The counts of some segments of one sample, int64 ``(C,)`` or ``(C, H, W)`` per stream.

        Raises:
            MmcertError: Naming the sample; nothing of it was counted then.
        """
        classes = len(self._dataset.classes)
        sample_id = self._dataset.ids[index]
        counters: dict[str, VoteCounter] = {}
        for segment in segments:
            counter = counters.setdefault(segment.stream, VoteCounter(classes, sample_id))
            for first, counted in segment.blocks(self.block):
                counter.add(self.labels(index, segment.stream, first)[:counted])
                progress(counted)
        return {stream: counter.counts() for stream, counter in counters.items()}

    def seconds_per_block(self, index: int) -> float:
        """Time of one block of the sample, measured on the second of two (the first warms up)."""
        first = self.seconds_of(index)
        return first if first > 10 else self.seconds_of(index)

    def seconds_of(self, index: int) -> float:
        """Time of one block of the sample, drawn and labelled now."""
        began = time.perf_counter()
        self.labels(index, STREAMS[0], 0).cpu()
        return time.perf_counter() - began


def _thread_like_this_one(device: torch.device) -> Callable[[], None]:
    """What makes a new thread compute as this one does: as many threads, on the same GPU."""
    threads = torch.get_num_threads()

    def start() -> None:
        torch.set_num_threads(threads)
        if device.type == "cuda":
            torch.cuda.set_device(device)

    return start


def vote_units(units: Sequence[Unit], voter: Voter, store: VoteStore, progress: Progress) -> None:
    """Vote some units and write each: a whole sample at once, a part of one as a segment.

    Whoever writes the last segment of a sample merges them.
    """
    voter.expect_samples([unit.index for unit in units])
    voter.expect_draws(units)
    for unit in units:
        sample, scheme = voter.load(unit.index)
        counts = voter.count(unit.index, unit.segments, progress)
        if store.is_whole(unit.sample_id, unit.segments):
            store.write_sample(unit.sample_id, counts, sample.get("target"), scheme)
            continue
        for segment in unit.segments:
            store.write_segment(unit.sample_id, segment, counts[segment.stream])
        store.merge(unit.sample_id, sample.get("target"), scheme)

"""Votes on disk while they grow: finished samples, and segments under ``votes/.partial/``."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmcert.errors import RecordError
from mmcert.records.atomic import atomic_write
from mmcert.records.votes import SampleVotes, VotesMeta, sample_ids, write_sample
from mmcert.theory.schemes import Scheme
from mmcert.voting.plan import STREAMS, Segment, exact_cover

PARTIAL = ".partial"


class VoteStore:
    """The ``votes`` folder of one run, shared by its processes; every file appears whole.

    Args:
        folder: The ``votes`` folder; ``meta.json`` is there.
        meta: What it says.
        fingerprint: Of the run; segments of another are refused.
        draws: Per sample its draws per stream; a stream without draws is left out.
    """

    def __init__(
        self,
        folder: Path,
        meta: VotesMeta,
        fingerprint: str,
        draws: Mapping[str, Mapping[str, int]],
    ) -> None:
        self._folder = folder
        self._meta = meta
        self._fingerprint = fingerprint
        self._draws = {
            sample_id: {stream: n for stream, n in wanted.items() if n > 0}
            for sample_id, wanted in draws.items()
        }

    def progress_so_far(self, ids: Iterable[str]) -> dict[str, list[Segment] | None]:
        """Per sample the segments on disk; None where it is finished."""
        finished = set(sample_ids(self._folder))
        return {i: None if i in finished else self.segments(i) for i in ids}

    def is_whole(self, sample_id: str, segments: Sequence[Segment]) -> bool:
        """Whether these segments are all draws of the sample."""
        return bool(segments) and exact_cover(self._draws[sample_id], segments) is not None

    def segments(self, sample_id: str) -> list[Segment]:
        """The segments of a sample that are on disk."""
        return sorted(_segment_of(path) for path in self._partial(sample_id).glob("[!.]*.npz"))

    def write_segment(self, sample_id: str, segment: Segment, counts: np.ndarray) -> None:
        """Write the counts of one segment."""
        folder = self._partial(sample_id)
        folder.mkdir(parents=True, exist_ok=True)
        smallest = np.min_scalar_type(segment.draws)
        with atomic_write(folder / _name_of(segment)) as file:
            np.savez(
                file,
                counts=counts.astype(smallest),
                fingerprint=np.array(self._fingerprint),
            )

    def write_sample(
        self,
        sample_id: str,
        counts: Mapping[str, np.ndarray],
        target: Any,
        scheme: Scheme,
        draws: int | None = None,
    ) -> None:
        """Write a finished sample and remove its segments.

        Args:
            sample_id: Its id.
            counts: Per stream.
            target: True labels, or None.
            scheme: With its ``n`` and ``k``.
            draws: Test draws counted, where they are fewer than planned (sequential voting).
        """
        votes = SampleVotes(
            id=sample_id,
            counts=counts[STREAMS[0]],
            target=None if target is None else np.asarray(target),
            draws=self._draws[sample_id][STREAMS[0]] if draws is None else draws,
            scheme=scheme,
            selection_counts=counts.get(STREAMS[1]),
            selection_draws=self._draws[sample_id].get(STREAMS[1]),
        )
        write_sample(self._folder, votes, self._meta)
        shutil.rmtree(self._partial(sample_id), ignore_errors=True)

    def merge(self, sample_id: str, target: Any, scheme: Scheme) -> bool:
        """Make the sample of its segments, if all of them are there.

        Two processes that both see the last segment write the same bytes.

        Raises:
            RecordError: Naming a segment that cannot be read, or that another run wrote.
        """
        cover = exact_cover(self._draws[sample_id], self.segments(sample_id))
        if cover is None:
            return False
        try:
            counts = self.read_segments(sample_id, cover)
        except FileNotFoundError:  # the other process was first, and has removed them
            return True
        self.write_sample(sample_id, counts, target, scheme)
        return True

    def read_segments(self, sample_id: str, segments: Iterable[Segment]) -> dict[str, np.ndarray]:
        """The counts of some segments per stream, int64, added up.

        Raises:
            RecordError: Naming a segment that cannot be read, or that another run wrote.
        """
        counts: dict[str, np.ndarray] = {}
        for segment in segments:
            part = self._read(sample_id, segment)
            counts[segment.stream] = counts.get(segment.stream, 0) + part
        return counts

    def remove_partial(self) -> None:
        """Remove ``.partial/`` once nothing is left in it."""
        shutil.rmtree(self._folder / PARTIAL, ignore_errors=True)

    def _read(self, sample_id: str, segment: Segment) -> np.ndarray:
        path = self._partial(sample_id) / _name_of(segment)
        try:
            with np.load(path, allow_pickle=False) as file:
                counts, fingerprint = file["counts"], str(file["fingerprint"])
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise RecordError(
                f"{path} cannot be read ({error}); delete it, and its draws are voted again."
            ) from error
        if fingerprint != self._fingerprint:
            raise RecordError(
                f"{path} belongs to another run; delete {path.parents[1]} to vote it again."
            )
        return counts.astype(np.int64)

    def _partial(self, sample_id: str) -> Path:
        return self._folder / PARTIAL / sample_id


def _name_of(segment: Segment) -> str:
    return f"{segment.stream}-{segment.start}-{segment.stop}.npz"


def _segment_of(path: Path) -> Segment:
    stream, _, numbers = path.stem.partition("-")
    start, _, stop = numbers.partition("-")
    if stream not in STREAMS or not (start.isdecimal() and stop.isdecimal()):
        raise RecordError(f"{path} is not a segment of votes; delete it.")
    return Segment(stream, int(start), int(stop))

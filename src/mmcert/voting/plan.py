"""The plan: which draws of which sample are voted together, and by which process.

Draws are independent and counted in integers, so any partition into whole blocks, in any order, on
any number of processes, gives the same votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: The two streams of draws a vote may belong to; training draws from a third.
STREAMS = ("test", "select")


@dataclass(frozen=True, order=True)
class Segment:
    """Draws ``start`` to ``stop - 1`` of one stream; ``start`` is a multiple of the block."""

    stream: str
    start: int
    stop: int

    @property
    def draws(self) -> int:
        """How many draws it counts."""
        return self.stop - self.start

    def blocks(self, block: int) -> Iterable[tuple[int, int]]:
        """``(first draw, draws that count)`` of each forward pass of ``block`` draws.

        Every pass has ``block`` draws, so that its shape never changes; those at ``stop`` and
        beyond are padding and not counted.

        >>> list(Segment("test", 4, 10).blocks(4))
        [(4, 4), (8, 2)]
        """
        for first in range(self.start, self.stop, block):
            yield first, min(block, self.stop - first)


@dataclass(frozen=True)
class Unit:
    """Segments of one sample that one process votes without writing anything in between."""

    index: int
    sample_id: str
    segments: tuple[Segment, ...]

    @property
    def draws(self) -> int:
        """How many draws it counts."""
        return sum(segment.draws for segment in self.segments)


def segments_of(draws: Mapping[str, int], block: int, length: int) -> list[Segment]:
    """All draws of a sample in segments of about ``length`` draws, whole blocks each.

    >>> [(s.start, s.stop) for s in segments_of({"test": 10}, block=4, length=4)]
    [(0, 4), (4, 8), (8, 10)]
    """
    whole = max(1, length // block) * block
    return [
        Segment(stream, start, min(start + whole, total))
        for stream, total in draws.items()
        for start in range(0, total, whole)
    ]


def missing_segments(
    draws: Mapping[str, int], done: Sequence[Segment], block: int, length: int
) -> list[Segment]:
    """The segments that are left where ``done`` are on disk already (of any length).

    >>> done = [Segment("test", 4, 8)]
    >>> [(s.start, s.stop) for s in missing_segments({"test": 12}, done, block=4, length=100)]
    [(0, 4), (8, 12)]
    """
    left: list[Segment] = []
    for stream, total in draws.items():
        position = 0
        for segment in [
            *sorted(s for s in done if s.stream == stream),
            Segment(stream, total, total),
        ]:
            if segment.start > position:
                gap = segments_of({stream: segment.start - position}, block, length)
                left += [Segment(stream, position + s.start, position + s.stop) for s in gap]
            position = max(position, segment.stop)
    return left


def exact_cover(draws: Mapping[str, int], done: Sequence[Segment]) -> list[Segment] | None:
    """Disjoint segments out of ``done`` that cover all draws, or None.

    A run that was killed and resumed with other segment lengths may have left overlapping ones;
    their draws are the same draws, and each must be counted once.

    >>> done = [Segment("test", 0, 4), Segment("test", 0, 6), Segment("test", 4, 10)]
    >>> [(s.start, s.stop) for s in exact_cover({"test": 10}, done)]
    [(0, 4), (4, 10)]
    """
    cover: list[Segment] = []
    for stream, total in draws.items():
        reach: dict[int, Segment] = {}  # position from which `total` can be reached, and by what
        for segment in sorted((s for s in done if s.stream == stream), reverse=True):
            if segment.stop == total or segment.stop in reach:
                reach.setdefault(segment.start, segment)
        position = 0
        while position < total:
            if position not in reach:
                return None
            cover.append(reach[position])
            position = reach[position].stop
    return cover


def plan_units(
    ids: Sequence[str],
    done: Mapping[str, Sequence[Segment] | None],
    *,
    draws: Mapping[str, Mapping[str, int]],
    block: int,
    length: int,
) -> list[Unit]:
    """What is left to vote.

    Args:
        ids: The samples, in the order of the data set.
        done: Per sample the segments on disk; None where the sample is finished.
        draws: Per sample its draws per stream.
        block: Draws per forward pass.
        length: Draws that one unit should hold, about; a sample that fits is one unit and is
            written at once, a longer one is cut.
    """
    units: list[Unit] = []
    for index, sample_id in enumerate(ids):
        segments = done.get(sample_id, ())
        if segments is None:
            continue
        wanted = draws[sample_id]
        left = missing_segments(wanted, segments, block, length)
        if not segments and sum(wanted.values()) <= length:
            units.append(Unit(index, sample_id, tuple(left)))
        elif left:
            units += [Unit(index, sample_id, (segment,)) for segment in left]
        else:  # all there, but the merge was interrupted
            units.append(Unit(index, sample_id, ()))
    return units


def plain_units(units: Iterable[Unit]) -> list[list[Any]]:
    """Units as plain data, for another process."""
    return [
        [u.index, u.sample_id, [[s.stream, s.start, s.stop] for s in u.segments]] for u in units
    ]


def units_from(plain: Iterable[Sequence[Any]]) -> list[Unit]:
    """The units that :func:`plain_units` was given.

    >>> units = [Unit(3, "um_000003", (Segment("test", 0, 4), Segment("select", 0, 2)))]
    >>> units_from(plain_units(units)) == units
    True
    """
    return [
        Unit(index, sample_id, tuple(Segment(*segment) for segment in segments))
        for index, sample_id, segments in plain
    ]


def share(units: Sequence[Unit], rank: int, world: int) -> list[Unit]:
    """The part of process ``rank`` out of ``world``: every ``world``-th unit."""
    return list(units[rank::world])

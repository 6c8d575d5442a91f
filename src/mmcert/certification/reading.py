"""One pass over the votes: all that is kept of a sample are histograms, or a few numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mmcert.certification.classification import SampleCounts
from mmcert.certification.histograms import SampleHistogram, claimed_label, histogram
from mmcert.certification.options import Option
from mmcert.errors import RecordError
from mmcert.records.folders import VotesFolders
from mmcert.records.meta import VotesMeta
from mmcert.records.votes import SampleVotes, check_sample

Sample = SampleHistogram | SampleCounts


def read_samples(
    votes: Iterable[SampleVotes],
    meta: VotesMeta,
    options: Sequence[Option],
    claims: Sequence[str] | None = None,
) -> list[Sample]:
    """Count every sample, one at a time.

    Args:
        votes: Samples.
        meta: What they have in common.
        options: Options that will be evaluated (pairs of votes are counted for ``margin`` only).
        claims: Claims that will be; None: all.

    Raises:
        RecordError: Where there is no sample, or votes are not what they say.
    """
    pairs = any(option.test == "margin" for option in options)
    stable = claims is None or set(claims) != {"robust"}
    checked = isinstance(votes, VotesFolders)  # as they are read
    samples: list[Sample] = []
    for sample in votes:
        if not checked:
            check_sample(sample, meta, f"sample '{sample.id}'")
        if meta.task == "segmentation":
            samples.append(histogram(sample, meta.ignore_index, pairs=pairs, stable=stable))
        else:
            samples.append(_numbers(sample, meta))
    if not samples:
        raise RecordError("there are no votes to evaluate.")
    return samples


def _numbers(sample: SampleVotes, meta: VotesMeta) -> SampleCounts:
    source = sample.counts if sample.selection_counts is None else sample.selection_counts
    claimed = int(claimed_label(sample))
    tied = int((source == source.max()).sum()) > 1
    label = None if sample.target is None else int(np.asarray(sample.target).reshape(()))
    return SampleCounts(
        id=sample.id,
        counts=tuple(int(count) for count in sample.counts),
        target=None if label == meta.ignore_index else label,
        predicted=None if tied else claimed,
        claimed=claimed,
        draws=sample.draws,
        scheme=sample.scheme,
        selected=sample.selection_counts is not None,
    )

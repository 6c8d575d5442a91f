"""Votes of one run that lie in one folder, or in several (shards)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mmcert.errors import RecordError
from mmcert.records.meta import REMEDY, VotesMeta, read_meta
from mmcert.records.patterns import matches
from mmcert.records.votes import SampleVotes, counts_dtype, read_sample, sample_ids

#: Facts that the folders of one run share; n, k and draws may differ by sample.
SHARED = ("task", "scheme", "classes", "ignore_index", "voting", "enumeration", "fingerprint")


def find_votes(votes: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """The votes folders that a ``votes=`` setting names.

    Args:
        votes: A run directory, a votes folder, a glob pattern of such, or a list of these.

    Raises:
        RecordError: Where one names nothing that holds votes.
    """
    entries = [votes] if isinstance(votes, str | Path) else list(votes)
    if not entries:
        raise RecordError("votes= names no folder; give a run directory or a votes folder.")
    found: list[Path] = []
    for entry in entries:
        text = str(entry)
        candidates = matches(text)
        if candidates != [Path(text)]:
            candidates = [path for path in candidates if _votes_in(path) is not None]
        folders = [_votes_in(path) for path in candidates]
        if not folders or None in folders:
            raise RecordError(
                f"{text}: no votes here (neither meta.json nor votes/meta.json); "
                f"give a run directory of mmcert-certify or a votes folder."
            )
        found += [folder for folder in folders if folder is not None]
    unique = list(dict.fromkeys(path.resolve() for path in found))
    return tuple(unique)


def _votes_in(path: Path) -> Path | None:
    for folder in (path, path / "votes"):
        if (folder / "meta.json").is_file():
            return folder
    return None


class VotesFolders:
    """The samples of one run, read one at a time from one or several votes folders.

    Iterating reads each sample anew, so one sample's votes are in memory at a time.

    Args:
        folders: Votes folders (with a ``meta.json`` each).

    Raises:
        RecordError: Where the folders do not belong together, hold no sample, or hold a sample
            twice without saying which draws are whose.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        if not self.folders:
            raise RecordError("no votes folder was given.")
        metas = [read_meta(folder) for folder in self.folders]
        self.meta: VotesMeta = metas[0]
        self._metas = dict(zip(self.folders, metas, strict=True))
        for folder, meta in self._metas.items():
            self._check_same_run(folder, meta)
        self._homes: dict[str, list[Path]] = {}
        for folder in self.folders:
            for sample_id in sample_ids(folder):
                self._homes.setdefault(sample_id, []).append(folder)
        self.ids: tuple[str, ...] = tuple(sorted(self._homes))
        if not self.ids:
            raise RecordError(
                f"{self.folders[0]}: no finished sample (<id>.npz) here; let mmcert-certify finish."
            )

    def _check_same_run(self, folder: Path, meta: VotesMeta) -> None:
        for key in SHARED:
            if getattr(meta, key) != getattr(self.meta, key):
                raise RecordError(
                    f"{folder}/meta.json: {key} is {getattr(meta, key)!r}, but "
                    f"{getattr(self.meta, key)!r} in {self.folders[0]}; "
                    f"evaluate votes of different runs one by one."
                )
        ours, theirs = self.meta.modalities, meta.modalities
        described = [
            [dataclasses.replace(m, n=1, k=0) for m in modalities] for modalities in (ours, theirs)
        ]
        if described[0] != described[1]:
            raise RecordError(
                f"{folder}/meta.json: other modalities or elements than {self.folders[0]}; "
                f"evaluate votes of different runs one by one."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[SampleVotes]:
        return (self.read(sample_id) for sample_id in self.ids)

    def read(self, sample_id: str) -> SampleVotes:
        """The votes of one sample, its blocks added up where several folders hold some.

        Raises:
            RecordError: Where it is in no folder, or its blocks overlap or contradict.
        """
        homes = self._homes.get(sample_id, [])
        if not homes:
            raise RecordError(f"{self.folders[0]}: no votes of sample '{sample_id}'; {REMEDY}")
        parts = [read_sample(folder, sample_id, self._metas[folder]) for folder in homes]
        sample = parts[0] if len(parts) == 1 else _add_blocks(parts, homes)
        ends = [0, *(stop for _, stop in sample.draw_range or ())]
        if self.meta.voting == "sequential" and any(
            start != end for (start, _), end in zip(sample.draw_range or (), ends, strict=False)
        ):
            raise RecordError(
                f"sample '{sample_id}' in {homes[0]}: sequential votes count their draws from the "
                f"first on without a gap, here they are {list(sample.draw_range or ())}; {REMEDY}"
            )
        return sample


def _add_blocks(parts: list[SampleVotes], homes: list[Path]) -> SampleVotes:
    first = parts[0]
    where = " and ".join(str(folder) for folder in homes)

    def refuse(problem: str) -> RecordError:
        return RecordError(
            f"sample '{first.id}' in {where}: {problem}; name each sample in one folder only, or "
            f"give each file its own 'draw_range'."
        )

    if any(part.draw_range is None for part in parts):
        raise refuse("the same sample twice, and a file does not say which draws it counts")
    ranges = sorted(bounds for part in parts for bounds in part.draw_range or ())
    if any(ranges[i][1] > ranges[i + 1][0] for i in range(len(ranges) - 1)):
        raise refuse(f"the draws {ranges} overlap")
    for part in parts[1:]:
        if part.scheme != first.scheme or part.counts.shape != first.counts.shape:
            raise refuse("the blocks differ in n, k or shape")
        if (part.target is None) != (first.target is None) or (
            part.target is not None
            and first.target is not None
            and not np.array_equal(part.target, first.target)
        ):
            raise refuse("the blocks differ in their target")
    selected = [part for part in parts if part.selection_counts is not None]
    for part in selected[1:]:
        if part.selection_draws != selected[0].selection_draws or not np.array_equal(
            np.asarray(part.selection_counts), np.asarray(selected[0].selection_counts)
        ):
            raise refuse("the blocks differ in their selection votes")
    draws = sum(part.draws for part in parts)
    counts = np.sum([part.counts.astype(np.int64) for part in parts], axis=0)
    return dataclasses.replace(
        first,
        counts=counts.astype(counts_dtype(draws)),
        draws=draws,
        draw_range=tuple(ranges),
        selection_counts=selected[0].selection_counts if selected else None,
        selection_draws=selected[0].selection_draws if selected else None,
    )

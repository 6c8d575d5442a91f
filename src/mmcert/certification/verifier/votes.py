"""The votes of a run: read, checked, and counted.

Numpy loads the arrays and counts how many elements have which votes; all that follows is done with
plain Python integers.
"""

from __future__ import annotations

import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.certification.verifier.findings import CheckError

SCHEMES = ("mmcert", "randomized_ablation", "randomized_ablation_aligned")
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Meta:
    """``meta.json``: what all samples have in common; ``sizes`` is ``(n, k)`` per modality.

    ``modification_only`` has the reason for each modality whose elements can only be modified.
    """

    task: str
    scheme: str
    sizes: Mapping[str, tuple[int, int]]
    elements: Mapping[str, str]
    modification_only: Mapping[str, str]
    draws: int
    classes: int
    ignore_index: int
    voting: str
    enumeration: str | None
    fingerprint: str | None


@dataclass(frozen=True)
class Votes:
    """The votes of one sample, for ``E`` elements.

    Args:
        id: Sample id.
        shape: Shape of its map; ``()`` for classification.
        counts: int64 ``(C, E)``.
        target: int64 ``(E,)``, or None.
        draws: ``N``.
        sizes: ``(n, k)`` per modality.
        selection: Votes of the selection draws, int64 ``(C, E)``, or None.
        selected: Number of the selection draws; 0 where there are none.
        ranges: Which draws were counted, where the file says so.
    """

    id: str
    shape: tuple[int, ...]
    counts: IntArray
    target: IntArray | None
    draws: int
    sizes: Mapping[str, tuple[int, int]]
    selection: IntArray | None
    selected: int
    ranges: tuple[tuple[int, int], ...] | None

    def claimed(self) -> IntArray:
        """The label that a stable claim is about, ``(E,)``; the lowest index of a tie."""
        source = self.counts if self.selection is None else self.selection
        return np.asarray(source.argmax(axis=0), dtype=np.int64)


class VotesFolders:
    """All votes of a run, in one folder or in several.

    Raises:
        CheckError: Where a folder or its ``meta.json`` is missing or broken, or folders differ.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.metas = {folder: _read_meta(folder) for folder in folders}
        self.meta = next(iter(self.metas.values()))
        self.homes: dict[str, list[Path]] = {}
        for folder, meta in self.metas.items():
            ours = replace(meta, sizes=self.meta.sizes, draws=self.meta.draws)
            if ours != self.meta or list(meta.sizes) != list(self.meta.sizes):
                raise CheckError(f"{folder}: these votes are of another run than the first folder")
            for path in sorted(folder.glob("*.npz")):
                if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem):
                    self.homes.setdefault(path.stem, []).append(folder)
                elif not path.name.startswith("."):
                    raise CheckError(f"{path}: {path.stem!r} cannot be a sample id")
        if not self.homes:
            raise CheckError(f"{folders[0]}: no votes here")
        self.ids = sorted(self.homes)

    def __iter__(self) -> Iterator[Votes]:
        return (self.read(sample_id) for sample_id in self.ids)

    def read(self, sample_id: str) -> Votes:
        """The votes of one sample, blocks of draws added up.

        Raises:
            CheckError: Where they are not what the format demands.
        """
        parts = [_read_sample(f, sample_id, self.metas[f]) for f in self.homes[sample_id]]
        votes = parts[0] if len(parts) == 1 else _add_blocks(parts)
        if self.meta.voting == "sequential" and votes.ranges is not None:
            ends = [0, *(stop for _, stop in votes.ranges)]
            if any(ends[i] != start for i, (start, _) in enumerate(votes.ranges)):
                raise CheckError(f"sample {sample_id}: sequential votes with a gap in their draws")
        return votes


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckError: Where there is none, or it holds NaN, an infinity, or a key twice.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):  # readers would differ in which they take
            raise ValueError("a key is there twice")
        return dict(pairs)

    try:
        document = json.loads(path.read_bytes(), parse_constant=refuse, object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckError(f"{path}: cannot be read ({error})") from None
    if not isinstance(document, dict) or document.get("schema", 1) != 1:
        raise CheckError(f"{path}: no JSON object of schema 1")
    return document


def is_count(value: object, least: int = 0) -> bool:
    """Whether a value is a plain integer of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _read_meta(folder: Path) -> Meta:
    path = folder / "meta.json"
    document = read_json(path)
    try:
        classes = document["classes"]
        meta = Meta(
            task=document["task"],
            scheme=document["scheme"],
            sizes={name: (one["n"], one["k"]) for name, one in document["modalities"].items()},
            elements={
                name: str(one.get("element") or "element")
                for name, one in document["modalities"].items()
            },
            modification_only={
                name: str(one["modification_only"])
                for name, one in document["modalities"].items()
                if one.get("modification_only")
            },
            draws=document["draws"],
            classes=len(classes) if isinstance(classes, list) else classes,
            ignore_index=document.get("ignore_index", 255),
            voting=document.get("voting", "fixed"),
            enumeration=document.get("enumeration"),
            fingerprint=document.get("fingerprint"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckError(f"{path}: incomplete ({error!r})") from None
    sound = (
        meta.task in ("classification", "segmentation")
        and meta.scheme in SCHEMES
        and meta.voting in ("fixed", "sequential", "exhaustive")
        and is_count(meta.draws, 1)
        and is_count(meta.classes, 2)
        and not (is_count(meta.ignore_index) and meta.ignore_index < meta.classes)
    )
    if not sound:
        raise CheckError(f"{path}: a field is out of range")
    _check_sizes(meta.sizes, path)
    return meta


def _check_sizes(sizes: Mapping[str, tuple[int, int]], path: Path) -> None:
    for name, (n, k) in sizes.items():
        if not (is_count(n, 1) and is_count(k) and k <= n):
            raise CheckError(f"{path}: {name} cannot retain k = {k} of n = {n} elements")
    if not sizes:
        raise CheckError(f"{path}: no modality")


def _read_sample(folder: Path, sample_id: str, meta: Meta) -> Votes:
    path = folder / f"{sample_id}.npz"
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error,
            AttributeError, MemoryError, NotImplementedError) as error:  # fmt: skip
        raise CheckError(f"{path}: corrupt ({error})") from None
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.integer):
            raise CheckError(f"{path}: '{name}' holds {array.dtype}, not integers")
    if "counts" not in arrays:
        raise CheckError(f"{path}: 'counts' is missing")
    draws = _one(arrays, "draws", meta.draws, path)
    shape = arrays["counts"].shape[1:]
    if len(shape) != (0 if meta.task == "classification" else 2):
        raise CheckError(f"{path}: counts have shape {arrays['counts'].shape} in {meta.task}")
    counts = _checked_counts(arrays["counts"], draws, meta, path)
    selection, selected = None, 0
    if ("selection_counts" in arrays) != ("selection_draws" in arrays):
        raise CheckError(f"{path}: selection_counts and selection_draws come together")
    if "selection_counts" in arrays:
        if arrays["selection_counts"].shape != arrays["counts"].shape:
            raise CheckError(f"{path}: selection_counts has another shape than counts")
        selected = _one(arrays, "selection_draws", 0, path)
        selection = _checked_counts(arrays["selection_counts"], selected, meta, path)
    target = None
    if "target" in arrays:
        target = arrays["target"].astype(np.int64).reshape(-1)
        known = (target >= 0) & (target < meta.classes)
        if target.size != counts.shape[1] or (not shape and arrays["target"].ndim > 1):
            raise CheckError(f"{path}: target and counts are not of the same elements")
        if shape and arrays["target"].shape != shape:
            raise CheckError(f"{path}: target has another shape than counts")
        if not (known | (target == meta.ignore_index)).all():
            raise CheckError(f"{path}: a target is no class")
    sizes = dict(meta.sizes)
    for place, key in enumerate(("n", "k")):
        if key in arrays:
            if arrays[key].shape != (len(sizes),):
                raise CheckError(f"{path}: '{key}' needs one integer per modality")
            for name, value in zip(sizes, arrays[key].tolist(), strict=True):
                n, k = sizes[name]
                sizes[name] = (value, k) if place == 0 else (n, value)
    _check_sizes(sizes, path)
    ranges = _ranges(arrays, draws, path)
    return Votes(sample_id, shape, counts, target, draws, sizes, selection, selected, ranges)


def _one(arrays: Mapping[str, NDArray[Any]], key: str, default: int, path: Path) -> int:
    value = int(arrays[key].reshape(-1)[0]) if key in arrays and arrays[key].size == 1 else default
    if (key in arrays and arrays[key].size != 1) or value < 1:
        raise CheckError(f"{path}: '{key}' must be one integer of at least 1")
    return value


def _checked_counts(counts: NDArray[Any], draws: int, meta: Meta, path: Path) -> IntArray:
    if counts.ndim < 1 or counts.shape[0] != meta.classes or counts.size == 0:
        raise CheckError(f"{path}: counts of shape {counts.shape} for {meta.classes} classes")
    flat = counts.reshape(meta.classes, -1)
    if int(flat.min()) < 0 or int(flat.max()) > draws:
        raise CheckError(f"{path}: a count is not between 0 and the {draws} draws")
    sums = flat.sum(axis=0, dtype=np.int64)
    if (sums != draws).any():
        wrong = int(np.argmax(sums != draws))
        raise CheckError(f"{path}: the votes for element {wrong} sum to {sums[wrong]}, not {draws}")
    return flat.astype(np.int64)


def _ranges(
    arrays: Mapping[str, NDArray[Any]], draws: int, path: Path
) -> tuple[tuple[int, int], ...] | None:
    if "draw_range" not in arrays:
        return None
    pairs = sorted(map(tuple, arrays["draw_range"].reshape(-1, 2).tolist()))
    ends = [0, *(stop for _, stop in pairs)]
    apart = all(ends[i] <= start < stop for i, (start, stop) in enumerate(pairs))
    if not apart or sum(stop - start for start, stop in pairs) != draws:
        raise CheckError(f"{path}: draw_range {pairs} does not cover {draws} draws once")
    return tuple(pairs)


def _add_blocks(parts: list[Votes]) -> Votes:
    first = parts[0]
    pairs = sorted(pair for part in parts for pair in part.ranges or ())
    same = all(
        part.ranges is not None
        and part.sizes == first.sizes
        and part.shape == first.shape
        and np.array_equal(_or_empty(part.target), _or_empty(first.target))
        for part in parts
    )
    if not same or any(a[1] > b[0] for a, b in itertools.pairwise(pairs)):
        raise CheckError(
            f"sample {first.id}: several folders hold it, and not disjoint draws of it"
        )
    chosen = [part.selection for part in parts if part.selection is not None]
    if any(not np.array_equal(one, chosen[0]) for one in chosen):
        raise CheckError(f"sample {first.id}: the folders differ in its selection votes")
    return replace(
        first,
        counts=np.sum([part.counts for part in parts], axis=0),
        draws=sum(part.draws for part in parts),
        selection=chosen[0] if chosen else None,
        ranges=tuple(pairs),
    )


def _or_empty(array: IntArray | None) -> IntArray:
    return np.empty(0, np.int64) if array is None else array

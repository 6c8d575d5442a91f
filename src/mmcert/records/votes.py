"""``votes/<id>.npz``: the votes of one sample, as integers."""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.errors import ConfigError, RecordError
from mmcert.records.atomic import atomic_write
from mmcert.records.ids import check_id
from mmcert.records.meta import REMEDY, VotesMeta, read_meta, write_meta
from mmcert.theory.schemes import SCHEMES, Scheme

__all__ = [
    "SampleVotes",
    "VotesMeta",
    "counts_dtype",
    "read_meta",
    "read_sample",
    "sample_ids",
    "votes_sha256",
    "write_meta",
    "write_sample",
]

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class SampleVotes:
    """The votes of one sample.

    Letters: ``C`` classes, ``H x W`` pixels.

    Args:
        id: Sample id.
        counts: Votes per class, integer ``(C,)`` or ``(C, H, W)``; sums to ``draws`` over ``C``.
        target: True class, integer scalar array or ``(H, W)``; None for unlabelled data.
        draws: Votes per element.
        scheme: The scheme with this sample's ``n`` and ``k``.
        selection_counts: Like ``counts``, from the separate selection draws, or None.
        selection_draws: Their number.
        draw_range: Half-open ranges of the draw indices that were counted, ``((start, stop), ...)``
            where the file says; lets the blocks of one sample lie in several folders.
    """

    id: str
    counts: IntArray
    target: IntArray | None
    draws: int
    scheme: Scheme
    selection_counts: IntArray | None = None
    selection_draws: int | None = None
    draw_range: tuple[tuple[int, int], ...] | None = None


def counts_dtype(draws: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds ``draws``.

    >>> str(counts_dtype(255)), str(counts_dtype(256))
    ('uint8', 'uint16')
    """
    return np.min_scalar_type(int(draws))


def sample_ids(folder: str | Path) -> tuple[str, ...]:
    """The ids of the finished samples in a votes folder, sorted. ``.partial/`` is not looked at."""
    return tuple(
        sorted(
            check_id(path.stem, str(path))
            for path in Path(folder).glob("*.npz")
            if not path.name.startswith(".") and path.is_file()
        )
    )


def votes_sha256(folder: str | Path, sample_id: str) -> str:
    """SHA-256 of a sample's votes file, hexadecimal."""
    with open(_path(folder, sample_id), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_sample(folder: str | Path, sample: SampleVotes, meta: VotesMeta) -> Path:
    """Write one sample's votes atomically; returns the path.

    ``draws``, ``n`` and ``k`` are written where they differ from ``meta``.

    Raises:
        RecordError: Where the votes are not what the format demands; nothing is written.
    """
    path = _path(folder, sample.id)
    check_sample(sample, meta, path)
    arrays: dict[str, NDArray[Any]] = {
        "counts": np.asarray(sample.counts).astype(counts_dtype(sample.draws))
    }
    if sample.target is not None:
        arrays["target"] = np.asarray(sample.target).astype(
            np.uint8 if max(meta.classes - 1, meta.ignore_index) < 256 else np.int64
        )
    if sample.draws != meta.draws:
        arrays["draws"] = np.asarray(sample.draws, np.int64)
    if [(m.n, m.k) for m in sample.scheme.modalities] != [(m.n, m.k) for m in meta.modalities]:
        arrays["n"] = np.asarray([m.n for m in sample.scheme.modalities], np.int64)
        arrays["k"] = np.asarray([m.k for m in sample.scheme.modalities], np.int64)
    if sample.selection_counts is not None and sample.selection_draws is not None:
        arrays["selection_counts"] = np.asarray(sample.selection_counts).astype(
            counts_dtype(sample.selection_draws)
        )
        arrays["selection_draws"] = np.asarray(sample.selection_draws, np.int64)
    if sample.draw_range is not None:
        arrays["draw_range"] = np.asarray(sample.draw_range, np.int64).reshape(-1, 2)
    with atomic_write(path) as stream:
        # numpy dates every member 1980-01-01: the same votes give the same bytes.
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    return path


def read_sample(folder: str | Path, sample_id: str, meta: VotesMeta) -> SampleVotes:
    """Read and check one sample's votes.

    Raises:
        RecordError: Where the file is missing, corrupt, or not what the format demands.
    """
    path = _path(folder, sample_id)
    arrays = _load(path)
    if "counts" not in arrays:
        raise RecordError(f"{path}: 'counts' missing; {REMEDY}")
    sample = SampleVotes(
        id=sample_id,
        counts=_integers(arrays["counts"], path, "counts"),
        target=_integers(arrays["target"], path, "target") if "target" in arrays else None,
        draws=_scalar(arrays, "draws", path, meta.draws),
        scheme=_scheme(arrays, path, meta),
        selection_counts=(
            _integers(arrays["selection_counts"], path, "selection_counts")
            if "selection_counts" in arrays
            else None
        ),
        selection_draws=(
            _scalar(arrays, "selection_draws", path, None) if "selection_draws" in arrays else None
        ),
        draw_range=_ranges(arrays, path),
    )
    check_sample(sample, meta, path)
    return sample


def _path(folder: str | Path, sample_id: str) -> Path:
    return Path(folder) / f"{check_id(sample_id, str(folder))}.npz"


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("not an npz archive")
        with archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise RecordError(f"{path}: no votes of this sample; {REMEDY}") from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path}: corrupt or not a votes file ({error}); {REMEDY}") from None
    except (MemoryError, TypeError, AttributeError, SyntaxError, NotImplementedError) as error:
        raise RecordError(f"{path}: cannot be read ({error!r}); {REMEDY}") from None


def _integers(array: NDArray[Any], path: Path, key: str) -> IntArray:
    if not np.issubdtype(array.dtype, np.integer):
        raise RecordError(
            f"{path}: '{key}' holds {array.dtype}, but votes are counted in integers; "
            f"store the counts themselves, not their means or probabilities."
        )
    return array


def _scalar(arrays: dict[str, NDArray[Any]], key: str, path: Path, default: int | None) -> int:
    if key not in arrays:
        if default is None:
            raise RecordError(f"{path}: '{key}' missing; {REMEDY}")
        return default
    value = _integers(arrays[key], path, key)
    if value.size != 1:
        raise RecordError(f"{path}: '{key}' must be one integer, not {value.shape}; {REMEDY}")
    return int(value.reshape(()))


def _scheme(arrays: dict[str, NDArray[Any]], path: Path, meta: VotesMeta) -> Scheme:
    modalities = meta.modalities
    given = [key for key in ("n", "k") if key in arrays]
    columns: dict[str, list[int]] = {}
    for key in given:
        values = _integers(arrays[key], path, key)
        if values.shape != (len(modalities),):
            raise RecordError(
                f"{path}: '{key}' must hold one integer for each of {list(meta.names)}, "
                f"in this order, not an array of shape {values.shape}; {REMEDY}"
            )
        columns[key] = [int(value) for value in values]
    try:
        if given:
            ns = columns.get("n", [m.n for m in modalities])
            ks = columns.get("k", [m.k for m in modalities])
            modalities = tuple(
                replace(m, n=n, k=k) for m, n, k in zip(modalities, ns, ks, strict=True)
            )
        return SCHEMES[meta.scheme](modalities)
    except ConfigError as error:
        raise RecordError(f"{path}: {str(error).rstrip('.')}; {REMEDY}") from None


def _ranges(arrays: dict[str, NDArray[Any]], path: Path) -> tuple[tuple[int, int], ...] | None:
    if "draw_range" not in arrays:
        return None
    values = _integers(arrays["draw_range"], path, "draw_range")
    if values.ndim == 1 and values.size == 2:
        values = values.reshape(1, 2)
    if values.ndim != 2 or values.shape[1] != 2:
        raise RecordError(f"{path}: 'draw_range' must have shape (ranges, 2); {REMEDY}")
    return tuple(sorted((int(start), int(stop)) for start, stop in values))


def check_sample(sample: SampleVotes, meta: VotesMeta, path: str | Path) -> None:
    """Check that a sample's votes are what the format demands.

    Raises:
        RecordError: Naming the file, what is wrong, and what to do.
    """

    def refuse(problem: str) -> RecordError:
        return RecordError(f"{path}: {problem}; {REMEDY}")

    if sample.draws < 1:
        raise refuse(f"draws = {sample.draws}, but at least one vote is needed")
    names = tuple(m.name for m in sample.scheme.modalities)
    if sample.scheme.name != meta.scheme or names != meta.names:
        raise refuse(f"the sample's scheme is {sample.scheme.name} of {names}, meta says otherwise")
    _check_counts(sample.counts, sample.draws, "counts", meta, refuse)
    shape = sample.counts.shape[1:]
    if (sample.selection_counts is None) != (sample.selection_draws is None):
        raise refuse("selection_counts and selection_draws come together or not at all")
    if sample.selection_counts is not None and sample.selection_draws is not None:
        if sample.selection_counts.shape != sample.counts.shape:
            raise refuse(
                f"selection_counts has shape {sample.selection_counts.shape}, "
                f"counts has {sample.counts.shape}"
            )
        _check_counts(
            sample.selection_counts, sample.selection_draws, "selection_counts", meta, refuse
        )
    if sample.target is not None:
        _check_target(np.asarray(sample.target), shape, meta, refuse)
    if sample.draw_range is not None:
        _check_ranges(sample.draw_range, sample.draws, refuse)
    if meta.voting == "exhaustive":
        total = math.prod(math.comb(pool.n, pool.k) for pool in sample.scheme.pools())
        if sample.draws != total:
            raise refuse(
                f"exhaustive voting counts all {total} sub-samples, draws says {sample.draws}"
            )


def _check_counts(counts: IntArray, draws: int, key: str, meta: VotesMeta, refuse: Any) -> None:
    dimensions = 1 if meta.task == "classification" else 3
    if counts.ndim != dimensions or counts.shape[0] != meta.classes or counts.size == 0:
        wanted = f"({meta.classes},)" if dimensions == 1 else f"({meta.classes}, H, W)"
        raise refuse(f"'{key}' has shape {counts.shape}, {meta.task} needs {wanted}")
    if np.issubdtype(counts.dtype, np.signedinteger) and int(counts.min()) < 0:
        raise refuse(f"'{key}' holds negative votes")
    if int(counts.max()) > draws:
        raise refuse(f"'{key}' holds {int(counts.max())} votes of {draws} draws")
    # No overflow: each count is at most draws, and C * draws fits 64 bits.
    sums = counts.sum(axis=0, dtype=np.int64)
    if not bool((sums == draws).all()):
        raise refuse(
            f"'{key}' must sum to draws = {draws} over the classes, but sums range from "
            f"{int(sums.min())} to {int(sums.max())}"
        )


def _check_target(target: IntArray, shape: tuple[int, ...], meta: VotesMeta, refuse: Any) -> None:
    if target.shape != shape and not (shape == () and target.size == 1):
        raise refuse(f"'target' has shape {target.shape}, counts need {shape}")
    low, high = int(target.min()), int(target.max())
    if low >= 0 and high < meta.classes:
        return
    outside = target[(target < 0) | (target >= meta.classes)]
    outside = outside[outside != meta.ignore_index]
    if outside.size:
        raise refuse(
            f"'target' holds {int(outside.flat[0])}, which is no class index below {meta.classes} "
            f"and not ignore_index = {meta.ignore_index}"
        )


def _check_ranges(ranges: tuple[tuple[int, int], ...], draws: int, refuse: Any) -> None:
    end = 0
    for start, stop in ranges:
        if start < end or stop <= start:
            raise refuse(f"'draw_range' {list(ranges)} must be disjoint, non-empty ranges from 0")
        end = stop
    total = sum(stop - start for start, stop in ranges)
    if total != draws:
        raise refuse(f"'draw_range' covers {total} draws, the sample has {draws}")

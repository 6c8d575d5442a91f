"""Exhaustive votes: every sub-sample was counted once, in the order that was recorded."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping

from mmcert.certification.verifier.derive import Case
from mmcert.certification.verifier.findings import Findings

#: Enumerations up to this many sub-samples are hashed again.
MOST_HASHED = 2_000_000


def pools(scheme: str, sizes: Mapping[str, tuple[int, int]]) -> list[tuple[int, int]]:
    """``(n, k)`` of each subset that a draw consists of."""
    if scheme == "mmcert":
        return list(sizes.values())
    k = sum(pair[1] for pair in sizes.values())
    if scheme == "randomized_ablation":
        return [(sum(pair[0] for pair in sizes.values()), k)]
    return [(next(iter(sizes.values()))[0], k // len(sizes))]


def subsets(n: int, k: int) -> Iterator[tuple[int, ...]]:
    """The subsets of ``k`` out of ``n`` by their largest element, then the next one, and so on.

    >>> list(subsets(4, 2))
    [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    """
    if k == 0:
        yield ()
        return
    for last in range(k - 1, n):
        for rest in subsets(last, k - 1):
            yield (*rest, last)


def check_enumeration(case: Case, findings: Findings) -> None:
    """The draws of each sample are all its sub-samples, and the recorded hash is that of theirs."""
    different = {}
    for one in case.tallies:
        own = tuple(pools(case.meta.scheme, one.sizes))
        total = math.prod(math.comb(n, k) for n, k in own)
        different[own] = total
        message = f"sample {one.id}: {one.draws} draws, there are {total} sub-samples"
        findings.check("enumeration", one.draws == total, message)
    if case.meta.enumeration is None:
        findings.skip("hash of the enumeration (meta.json records none)")
    elif sum(different.values()) > MOST_HASHED:
        findings.skip(f"hash of the enumeration (more than {MOST_HASHED} sub-samples)")
    else:
        found = _hash(sorted(different))
        message = f"meta.json: enumeration {case.meta.enumeration}, derived {found}"
        findings.check("enumeration", found == case.meta.enumeration, message)


def _hash(sizes: list[tuple[tuple[int, int], ...]]) -> str:
    """SHA-256 of ``n``, ``k`` of the pools and of all positions, as little-endian 64-bit integers.

    Of several pools the last one changes fastest.
    """
    digest = hashlib.sha256()
    for own in sizes:
        digest.update(struct.pack(f"<{2 * len(own)}q", *(x for pool in own for x in pool)))
        rows = [b""]
        for n, k in own:
            packed = [struct.pack(f"<{k}q", *positions) for positions in subsets(n, k)]
            rows = [before + one for before in rows for one in packed]
        for row in rows:
            digest.update(row)
    return digest.hexdigest()

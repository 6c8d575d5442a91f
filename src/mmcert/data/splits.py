"""Splits that depend on names and a seed, and on nothing else (no directory order)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

SPLITS = ("train", "val", "test")


def seeded_hash(seed: int, *parts: object) -> int:
    """64 bits that are a function of the seed and the parts, on every machine and version.

    >>> seeded_hash(0, "a") == seeded_hash(0, "a"), seeded_hash(0, "a") == seeded_hash(1, "a")
    (True, False)
    """
    text = "\0".join([str(int(seed)), *(str(part) for part in parts)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def seeded_order(names: Iterable[str], seed: int, purpose: str) -> list[str]:
    """A shuffle of the names: the order of their hashes.

    Unlike a shuffle by a generator it does not depend on the order in which the names come, nor on
    a library's stream, and a name that is added moves no other.

    >>> seeded_order("abcd", 0, "split") == seeded_order("dcba", 0, "split")
    True
    """
    return sorted(set(names), key=lambda name: (seeded_hash(seed, purpose, name), name))


def split_80_20(names: Iterable[str], seed: int) -> dict[str, tuple[str, ...]]:
    """The published proportions: 80 % train, 20 % test; val is the last 10 % of train.

    Of three names or more each split gets one.

    Each split keeps the shuffled order, so that any prefix of it is a fair sample.

    >>> {name: len(ids) for name, ids in split_80_20(map(str, range(289)), 0).items()}
    {'train': 208, 'val': 23, 'test': 58}
    """
    order = seeded_order(names, seed, "split")
    tested = round(len(order) * 0.2)
    trained = len(order) - (max(tested, 1) if len(order) >= 3 else tested)
    return {**_last_tenth_validates(order[:trained]), "test": tuple(order[trained:])}


def split_90_10(names: Iterable[str], seed: int) -> dict[str, tuple[str, ...]]:
    """Where the test split is given: val is the last 10 % of the shuffled names, train the rest.

    >>> {name: len(ids) for name, ids in split_90_10(map(str, range(231)), 0).items()}
    {'train': 208, 'val': 23}
    """
    return _last_tenth_validates(seeded_order(names, seed, "split"))


def _last_tenth_validates(order: Sequence[str]) -> dict[str, tuple[str, ...]]:
    validated = round(len(order) * 0.1)
    first = len(order) - (max(validated, 1) if len(order) >= 2 else validated)
    return {"train": tuple(order[:first]), "val": tuple(order[first:])}


def is_partition_of(split: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether every id of a stored split is among ``names``, in one place only."""
    stored = [name for part in SPLITS for name in split[part]]
    return bool(stored) and len(set(stored)) == len(stored) and set(stored) <= set(names)

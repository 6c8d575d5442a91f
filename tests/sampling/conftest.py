"""A second, slow reading of the sampler: plain Python integers, one candidate after the other."""

import hashlib

import pytest

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def key_of(seed, sample_id, stream, pool, worker=()):
    text = b""
    for part in (seed, sample_id, stream, len(pool), *pool, *worker):
        encoded = str(part).encode()
        text += len(encoded).to_bytes(8, "little") + encoded
    digest = hashlib.blake2b(text, digest_size=8, person=b"mmcert-subset-v1").digest()
    return int.from_bytes(digest, "little")


def draw_key_of(key, d):
    return mix((mix(key) + (d + 1) * GOLDEN) & MASK)


def first_distinct(draw_key, n, k, half=None):
    """The first k distinct accepted candidates; ``half(draw_key, position)`` may be replaced."""
    if half is None:

        def half(draw_key, position):
            word = mix((draw_key + (position // 2 + 1) * GOLDEN) & MASK)
            return (word >> 32) if position % 2 else (word & 0xFFFFFFFF)

    found = set()
    position = 0
    while len(found) < k:
        product = half(draw_key, position) * n
        position += 1
        if product % 2**32 >= 2**32 % n:
            found.add(product >> 32)
    return found


def subset(draw_key, n, k):
    if 2 * k > n:
        return sorted(set(range(n)) - first_distinct(draw_key, n, n - k))
    return sorted(first_distinct(draw_key, n, k))


class Reference:
    mix = staticmethod(mix)
    key = staticmethod(key_of)
    draw_key = staticmethod(draw_key_of)
    subset = staticmethod(subset)
    first_distinct = staticmethod(first_distinct)


@pytest.fixture(scope="session")
def reference():
    return Reference

"""The seeds that every generator of every job takes."""

from __future__ import annotations

from typing import Any

from mmcert.errors import ConfigError

#: NumPy's and Lightning's generators take 32 bits, torch's more.
LARGEST = 2**32 - 1


def check_seed(seed: Any) -> None:
    """Refuse what is no seed, before anything is begun.

    Args:
        seed: Of a configuration; None where another one's holds.

    Raises:
        ConfigError: Unless it is a whole number from 0 to 2**32 - 1.
    """
    if seed is None:
        return
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST:
        raise ConfigError(f"seed={seed} must be a whole number from 0 to {LARGEST}.")

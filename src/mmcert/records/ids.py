"""Sample ids: they become file names, so they must not leave their folder."""

from __future__ import annotations

import re

from mmcert.errors import RecordError

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: File systems allow 255 bytes; the suffix and the temporary name need some of them.
LONGEST_ID = 200


def check_id(sample_id: object, where: str = "a sample") -> str:
    """The id itself, where it can safely name a file.

    An id starts with a letter or digit and holds only letters, digits, ``.``, ``_`` and ``-``: no
    separator, no leading dot (readers skip hidden files), and neither ``=`` nor ``,``, which Hydra
    cannot take in a path.

    Args:
        sample_id: The id.
        where: What it came from, for the message.

    Raises:
        RecordError: Where it is anything else.

    >>> check_id("um_000012")
    'um_000012'
    """
    if (
        not isinstance(sample_id, str)
        or len(sample_id) > LONGEST_ID
        or ID_PATTERN.fullmatch(sample_id) is None
    ):
        raise RecordError(
            f"{where}: {sample_id!r} cannot be a sample id; use letters, digits, '.', '_' and '-', "
            f"starting with a letter or digit, at most {LONGEST_ID} characters."
        )
    return sample_id

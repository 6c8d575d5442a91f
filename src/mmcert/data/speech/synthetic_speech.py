"""Synthetic talking faces: the format of RAVDESS, written by ``mmcert-prepare``."""

from __future__ import annotations

import shlex
from pathlib import Path

from mmcert.data.speech.ravdess import Ravdess


class SyntheticSpeech(Ravdess):
    """Drawn faces that speak with eight emotions; everything else as in :class:`Ravdess`."""

    name = "synthetic_speech"

    @classmethod
    def how_to_make(cls, root: Path) -> str:
        """See the base class."""
        return (
            f"Make it: mmcert-prepare dataset=synthetic_speech out=RAW, then mmcert-prepare "
            f"dataset=ravdess source=RAW out={shlex.quote(str(root))}"
        )

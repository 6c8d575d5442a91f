"""Synthetic talking faces: the format of RAVDESS, written by ``mmcert-prepare``."""

from __future__ import annotations

from pathlib import Path

from mmcert.data.speech.ravdess import Ravdess
from mmcert.quoting import command_line


class SyntheticSpeech(Ravdess):
    """Drawn faces that speak with eight emotions; everything else as in :class:`Ravdess`."""

    name = "synthetic_speech"

    @classmethod
    def how_to_make(cls, root: Path) -> str:
        """See the base class."""
        raw = f"{root}_raw"
        return (
            "Make it:\n  "
            + command_line("prepare", "dataset=synthetic_speech", out=raw)
            + "\n  "
            + command_line("prepare", "dataset=ravdess", source=raw, out=root)
        )

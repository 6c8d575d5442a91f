"""What a person wants to know of clips that were prepared: splits, faces, what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcert.data.problems import numbered
from mmcert.data.speech.names import clip_name

#: Clips of the published set.
OFFICIAL = 1440
#: Share of frames without a face from which on a clip is named.
_POOR = 0.1


def notes(prepared: Mapping[str, Any], shown: int, *, official: bool) -> str:
    """A few lines, to follow the words "FOLDER holds".

    Args:
        prepared: What :func:`mmcert.data.speech.prepare_ravdess.prepare_ravdess` returns.
        shown: Clips that are listed one by one; the rest is counted.
        official: Whether these may be the published clips, whose number is known.
    """
    clips, split = prepared["clips"], prepared["split"]
    parts = []
    for part, ids in split.items():
        actors = sorted({clip_name(clip_id).actor for clip_id in ids})
        parts.append(f"{part} {len(ids)} (actors {', '.join(map(str, actors)) or 'none'})")
    lines = [
        f"{len(clips)} speech clips ({' and '.join(prepared['modalities'])}): {', '.join(parts)}. "
        f"manifest.json has the split and the checksums, clips.json "
        f"what was done with every clip."
    ]
    if official and len(clips) != OFFICIAL:
        lines.append(f"Note: the published set has {OFFICIAL} speech clips.")
    if prepared["songs"]:
        lines.append(f"{prepared['songs']} sung clips were left out.")
    lines += _faces(clips, shown)
    skipped = list(prepared["skipped"].values())
    if skipped:
        lines.append(f"{len(skipped)} left out:\n{numbered(skipped, shown)}")
    return "\n".join(lines)


def _faces(clips: Mapping[str, Mapping[str, Any]], shown: int) -> list[str]:
    examined = sum(clip.get("examined", 0) for clip in clips.values())
    if not examined:
        return []
    missed = sum(clip.get("without_face", 0) for clip in clips.values())
    found = 10000 * (examined - missed) // examined / 100  # rounded down
    lines = [f"A face was found in {found:g} % of the frames that the detector looked at."]
    poor = [
        f"{name}: no face in {clip['without_face']} of {clip['examined']} frames; the boxes there "
        f"are interpolated."
        for name, clip in clips.items()
        if clip["without_face"] > _POOR * clip["examined"]
    ]
    if poor:
        lines.append(f"Look at these clips:\n{numbered(poor, shown)}")
    return lines

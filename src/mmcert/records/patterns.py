"""Patterns of folders that are themselves in folders with brackets in their names."""

from __future__ import annotations

import glob
from pathlib import Path


def matches(pattern: str | Path) -> list[Path]:
    """What a pattern matches, in the order of names; a path that exists is itself.

    Leading folders that exist are taken by name: in ``thesis [new]/runs/*`` the brackets are no
    set of letters where there is such a folder.

    Args:
        pattern: With ``*``, ``?``, ``[...]``, and ``**`` for any depth.
    """
    path = Path(pattern)
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    parts, known = path.parts, Path()
    for depth, part in enumerate(parts):
        if not (known / part).exists():
            whole = Path(glob.escape(str(known)), *parts[depth:])
            return [Path(name) for name in sorted(glob.glob(str(whole), recursive=True))]
        known = known / part
    return [path]

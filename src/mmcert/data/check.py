"""Reading every file of a data folder and listing everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcert.data.calibration import read_calibration
from mmcert.data.images import Colour, read_depth, read_label, read_rgb
from mmcert.data.kitti_layouts import FOLDERS, Frame, find_layout, splits_of
from mmcert.data.splits import SPLITS
from mmcert.data.workspace import MANIFEST, read_manifest, run_tasks, sha256
from mmcert.errors import DataError


def check_roads(
    root: Path, *, colours: Mapping[Colour, int], depth_scale: float, workers: int | None
) -> tuple[list[str], str]:
    """Check a folder in the format of KITTI Road.

    Args:
        root: The folder.
        colours: Class id of every label colour.
        depth_scale: Units of the depth files per metre.
        workers: Processes; None: one per core.

    Returns:
        All problems, one sentence each, and a summary of what is there.
    """
    problems: list[str] = []
    if not root.is_dir():
        return [f"{root}: the folder does not exist."], "nothing there"
    manifest = gather(problems, read_manifest, root)
    layout = gather(problems, find_layout, root)
    if layout is None:
        return problems, "no frames"
    tasks = [(frame, dict(colours), depth_scale) for frame in layout.frames.values()]
    for found in run_tasks(frame_problems, tasks, workers=workers, unit="frames"):
        problems += found
    problems += _orphans(root, layout.frames)
    if manifest is not None:
        problems += _changed_files(root, manifest)
    splits = gather(problems, splits_of, layout, root, 0) or {}
    stated = layout.kind == "split" or (manifest or {}).get("split") is not None
    for name in SPLITS:  # a few frames without a split of their own can be read with data.split=all
        if stated and splits and not splits.get(name):
            problems.append(f"{root}: the split '{name}' is empty.")
    labelled = sum(frame.label is not None for frame in layout.frames.values())
    sizes = ", ".join(f"{name} {len(splits.get(name, ()))}" for name in SPLITS)
    return problems, (
        f"{len(layout.frames)} frames in the {layout.kind} layout, {labelled} with labels ({sizes})"
    )


def numbered(problems: Sequence[str], shown: int) -> str:
    """A numbered list with one problem a line; beyond ``shown`` they are only counted.

    >>> print(numbered(["a.png: missing.", "b.png: missing."], 1))
      1. a.png: missing.
      ... and 1 more
    """
    lines = [f"  {number}. {text}" for number, text in enumerate(problems[:shown], 1)]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    return "\n".join(lines)


def gather(problems: list[str], function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function, or None and one problem more where it raises a DataError."""
    try:
        return function(*arguments)
    except DataError as error:
        problems.append(str(error))
        return None


def frame_problems(frame: Frame, colours: Mapping[Colour, int], depth_scale: float) -> list[str]:
    """What is wrong with the files of one frame."""
    problems: list[str] = []
    gather(problems, read_calibration, frame.calibration)
    image = gather(problems, read_rgb, frame.image)
    if image is None:
        return problems
    size = (image.shape[0], image.shape[1])
    gather(problems, lambda: read_depth(frame.depth, scale=depth_scale, size=size))
    if frame.label is not None:
        label = frame.label
        gather(problems, lambda: read_label(label, colours=colours, size=size))
    return problems


def _orphans(root: Path, frames: Mapping[str, Frame]) -> list[str]:
    """Depth maps and labels that belong to no image."""
    base = root / "data_road" if (root / "data_road").is_dir() else root
    known = {frame.depth for frame in frames.values()}
    known |= {frame.label for frame in frames.values() if frame.label is not None}
    known_names = {path.resolve() for path in known}
    problems = []
    for folder in (base, *(base / name for name in FOLDERS)):
        for kind in ("depth_u16", "gt_image_2"):
            for path in sorted((folder / kind).glob("*.png")):
                if "_lane_" not in path.name and path.resolve() not in known_names:
                    problems.append(f"{path}: belongs to no image of image_2.")
    return problems


def _changed_files(root: Path, manifest: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, checksum in manifest.get("files", {}).items():
        path = root / name
        if not path.is_file():
            problems.append(f"{path}: missing, but {MANIFEST} lists it.")
        elif sha256(path) != checksum:
            problems.append(f"{path}: changed since {MANIFEST} was written (another checksum).")
    return problems


def check_avmnist(root: Path) -> tuple[list[str], str]:
    """Check a folder of AV-MNIST: every array and every recording.

    Returns:
        All problems, one sentence each, and a summary of what is there.
    """
    from mmcert.data.avmnist import recording_pools
    from mmcert.data.avmnist_files import find_recordings, read_images, read_wav

    problems: list[str] = []
    images = gather(problems, read_images, root)
    recordings = gather(problems, find_recordings, root) or []
    for recording in recordings:
        gather(problems, read_wav, recording.path)
    if recordings:
        gather(problems, recording_pools, recordings, 0)
    count = 0 if images is None else len(images[0])
    return problems, f"{count} images, {len(recordings)} recordings"

"""Reading every file of a folder of roads and listing everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.data.images import Colour, read_depth, read_label, read_rgb
from mmcert.data.problems import gather
from mmcert.data.roads.calibration import read_calibration
from mmcert.data.roads.kitti_layouts import FOLDERS, Frame, find_layout, splits_of
from mmcert.data.splits import SPLITS
from mmcert.data.visible_files import visible_files
from mmcert.data.workspace import MANIFEST, changed_files, read_manifest, run_tasks


def check_roads(
    root: Path,
    *,
    classes: Sequence[str],
    colours: Mapping[Colour, int],
    depth_scale: float,
    workers: int | None,
) -> tuple[list[str], str]:
    """Check a folder in the format of KITTI Road.

    Args:
        root: The folder.
        classes: Names of the classes, in the order of their ids.
        colours: Class id of every label colour.
        depth_scale: Units of the depth files per metre.
        workers: Processes; None: one per core.

    Returns:
        All problems, one sentence each, and a summary of what is there. It has the range of depth
        and the share of every class, by which a wrong ``depth_scale`` or colour shows.
    """
    problems: list[str] = []
    if not root.is_dir():
        return [f"{root}: the folder does not exist."], "nothing there"
    manifest = gather(problems, read_manifest, root)
    layout = gather(problems, find_layout, root)
    if layout is None:
        return problems, "no frames"
    tasks = [(frame, dict(colours), depth_scale) for frame in layout.frames.values()]
    reports = run_tasks(check_frame, tasks, workers=workers, unit="frames")
    for report in reports:
        problems += report.problems
    problems += _not_read(root, layout.frames)
    if manifest is not None:
        problems += changed_files(root, manifest) + _added_images(root, manifest)
    problems += layout.bad_names
    splits = gather(problems, splits_of, replace(layout, bad_names=()), root, 0) or {}
    stated = layout.kind == "split" or (manifest or {}).get("split") is not None
    for name in SPLITS:  # a few frames without a split of their own can be read with data.split=all
        if stated and splits and not splits.get(name):
            problems.append(f"{root}: the split '{name}' is empty.")
    labelled = {name for name, frame in layout.frames.items() if frame.label is not None}
    sizes = [f"{name} {len(splits.get(name, ()))}" for name in SPLITS]
    unused = labelled.intersection(splits.get("rest", ()))
    sizes += [f"in no split {len(unused)}"] if unused else []
    return problems, (
        f"{len(layout.frames)} frames in the {layout.kind} layout, {len(labelled)} with labels "
        f"({', '.join(sizes)}){_contents(reports, classes)}"
    )


@dataclass(frozen=True)
class FrameReport:
    """What a frame holds.

    Args:
        problems: What is wrong with its files.
        depth: Least and greatest depth in metres, None where there is none.
        pixels: Pixels of every class id, ``(256,)``; zeros without label.
    """

    problems: tuple[str, ...]
    depth: tuple[float, float] | None
    pixels: NDArray[np.int64]


def check_frame(frame: Frame, colours: Mapping[Colour, int], depth_scale: float) -> FrameReport:
    """Read the files of one frame."""
    problems: list[str] = []
    pixels = np.zeros(256, np.int64)
    calibration = gather(problems, read_calibration, frame.calibration)
    image = gather(problems, read_rgb, frame.image)
    if image is None:  # without its size the others cannot be judged, but they can be missing
        others = (frame.depth, frame.label)
        problems += [f"{path}: missing." for path in others if path and not path.is_file()]
        return FrameReport(tuple(problems), None, pixels)
    size = (image.shape[0], image.shape[1])
    if calibration is not None:
        camera = calibration.camera()
        # Above the image is right where the sky was cut away.
        if camera["v0"] > size[0] or camera["u0"] > size[1]:
            problems.append(
                f"{frame.calibration}: the principal point of P2, row {camera['v0']:g} and column "
                f"{camera['u0']:g}, is beyond the image of {size[0]}x{size[1]}. Where images were "
                f"resized or cropped, P2 must be too."
            )
    depth = gather(problems, lambda: read_depth(frame.depth, scale=depth_scale, size=size))
    if frame.label is not None:
        label = frame.label
        target = gather(problems, lambda: read_label(label, colours=colours, size=size))
        if target is not None:
            pixels = np.bincount(target.ravel(), minlength=256)
    some = None if depth is None else depth[depth > 0]
    extent = None if some is None else (float(some.min()), float(some.max()))
    return FrameReport(tuple(problems), extent, pixels)


def _contents(reports: Sequence[FrameReport], classes: Sequence[str]) -> str:
    text = ""
    depths = [report.depth for report in reports if report.depth is not None]
    if depths:
        low, high = min(one for one, _ in depths), max(one for _, one in depths)
        text += f"; depth {low:.2f} to {high:.2f} m"
    pixels = sum((report.pixels for report in reports), np.zeros(256, np.int64))
    if pixels.any():
        shares = pixels / pixels.sum()
        named = (f"{name} {shares[index]:.1%}" for index, name in enumerate(classes))
        text += f"; label pixels: {', '.join(named)}"
    return text


def _not_read(root: Path, frames: Mapping[str, Frame]) -> list[str]:
    """Files that nothing reads: of no image, or of another format."""
    base = root / "data_road" if (root / "data_road").is_dir() else root
    known = {frame.image for frame in frames.values()}
    known |= {frame.depth for frame in frames.values()}
    known |= {frame.calibration for frame in frames.values()}
    known |= {frame.label for frame in frames.values() if frame.label is not None}
    known_names = {path.resolve() for path in known}
    suffixes = {"image_2": ".png", "depth_u16": ".png", "gt_image_2": ".png", "calib": ".txt"}
    problems = []
    for folder in (base, *(base / name for name in FOLDERS)):
        for kind, suffix in suffixes.items():
            for path in visible_files(folder / kind, "*"):
                if path.resolve() in known_names or "_lane_" in path.name:
                    continue
                if path.suffix != suffix:
                    problems.append(f"{path}: is not read; files of {kind} end in {suffix}.")
                elif kind != "image_2":
                    problems.append(f"{path}: belongs to no image of image_2.")
    return problems


def _added_images(root: Path, manifest: Mapping[str, Any]) -> list[str]:
    files = manifest.get("files")
    if not files or not isinstance(files, Mapping):
        return []
    return [
        f"{path}: is not listed in {MANIFEST}; it was added later."
        for path in sorted(root.rglob("image_2/*.png"))
        if not path.name.startswith(".") and path.relative_to(root).as_posix() not in files
    ]

"""From the official download of KITTI Road to a folder with dense depth maps.

``data_road.zip`` and ``data_road_velodyne.zip`` of https://www.cvlibs.net/datasets/kitti, unpacked
side by side: ``data_road/{training,testing}/{image_2,calib,gt_image_2}`` and
``data_road_velodyne/{training,testing}/velodyne``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmcert.data.images import Colour, read_label, read_rgb, write_png
from mmcert.data.problems import counted, gather, numbered
from mmcert.data.roads.calibration import read_calibration
from mmcert.data.roads.kitti_layouts import label_path, name_problem
from mmcert.data.roads.lidar_depth import dense_depth, read_scan
from mmcert.data.splits import split_80_20
from mmcert.data.visible_files import visible_files
from mmcert.data.workspace import MANIFEST, Workspace, run_tasks, whole_file
from mmcert.errors import DataError

NEEDS = ("P2", "R0_rect", "Tr_velo_to_cam")
#: Labelled frames of the official download.
OFFICIAL = {"um": 95, "umm": 96, "uu": 98}
OFFICIAL_TESTING = 290
#: Raised whenever the same scan gives another map.
CONVERSION = 1
#: Problems that are printed one by one; the rest is counted.
_SHOWN = 30
#: A whole scan covers nearly all of the image below the horizon; less than half is one cut off.
_LEAST_COVERED = 0.5


@dataclass(frozen=True)
class RawFrame:
    """The files of one frame of the download; ``label`` is None for a frame of ``testing``."""

    folder: str
    image: Path
    calibration: Path
    scan: Path
    label: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        some = (self.image, self.calibration, self.scan, self.label)
        return tuple(path for path in some if path is not None)


def find_raw_frames(source: Path) -> list[RawFrame]:
    """The frames of a download, by folder and name.

    Args:
        source: The folder that holds ``data_road`` and ``data_road_velodyne``, or ``data_road``.

    Raises:
        DataError: Where a folder is missing or there are no images.
    """
    # Resolved: the parent of "." is above it.
    base = source if (source / "data_road").is_dir() else source.resolve().parent
    road, velodyne = base / "data_road", base / "data_road_velodyne"
    for folder, archive in ((road, "data_road.zip"), (velodyne, "data_road_velodyne.zip")):
        if not folder.is_dir():
            raise DataError(
                f"{source}: no folder {folder.name} there. Unpack {archive} of the official KITTI "
                f"Road download into the folder that source= names."
            )
    frames = []
    for name in ("training", "testing"):
        folder = road / name
        for image in visible_files(folder / "image_2", "*.png"):
            label = label_path(folder / "gt_image_2", image.stem) if name == "training" else None
            frames.append(
                RawFrame(
                    folder=name,
                    image=image,
                    calibration=folder / "calib" / f"{image.stem}.txt",
                    scan=velodyne / name / "velodyne" / f"{image.stem}.bin",
                    label=label,
                )
            )
    if not any(frame.folder == "training" for frame in frames):
        raise DataError(f"{road / 'training' / 'image_2'}: no images here; unpack data_road.zip.")
    return frames


def raw_problems(frame: RawFrame, colours: Mapping[Colour, int]) -> list[str]:
    """What is wrong with the files of a frame; every one is read.

    Args:
        frame: The frame.
        colours: Class id of every colour that a label may have.
    """
    problems: list[str] = []
    name = name_problem(frame.image)
    if name is not None:
        problems.append(name)
    gather(problems, lambda: read_calibration(frame.calibration, needs=NEEDS))
    gather(problems, read_scan, frame.scan)
    image = gather(problems, read_rgb, frame.image)
    label = frame.label
    if label is not None and not label.is_file():
        problems.append(f"{label}: missing.")
    elif label is not None and image is not None:
        size = (image.shape[0], image.shape[1])
        gather(problems, lambda: read_label(label, colours=colours, size=size))
    return problems


def unpaired_files(frames: list[RawFrame]) -> list[str]:
    """Calibrations and labels of the download whose image is missing, as problems.

    A scan alone tells nothing: whoever has the velodyne archive of more frames may keep them.
    """
    known = {path for frame in frames for path in (frame.calibration, frame.label)}
    folders = {frame.image.parent.parent for frame in frames}
    return [
        f"{path}: belongs to no image of {folder / 'image_2'}."
        for folder in sorted(folders)
        for kind, pattern in (("calib", "*.txt"), ("gt_image_2", "*.png"))
        for path in visible_files(folder / kind, pattern)
        if path not in known and "_lane_" not in path.name
    ]


def prepare_kitti(
    source: Path, out: Path, *, seed: int, workers: int | None = None
) -> dict[str, int]:
    """Convert a download; interrupted, it goes on with the frames that are not done.

    Args:
        source: See :func:`find_raw_frames`.
        out: Folder to make: ``{training,testing}/{image_2,depth_u16,calib,gt_image_2}`` and
            ``manifest.json`` with checksums and the split.
        seed: Seed of the 80/20 split: 231 frames for learning (the last 10 % of them for
            validation) and 58 for testing.
        workers: Processes; None: one per core.

    Returns:
        Labelled frames of each split.

    Raises:
        DataError: With all problems of the download at once, before any work; or where ``out``
            holds something else.
    """
    frames = find_raw_frames(source)
    if (out / MANIFEST).is_file():  # every file was read when that was written
        missing = [path for frame in frames for path in frame.files if not path.is_file()]
        if missing:
            raise DataError(f"{missing[0]}: missing ({len(missing)} files of {source} are).")
    else:
        _check_download(source, frames, workers)
    split = split_80_20((frame.image.stem for frame in frames if frame.folder == "training"), seed)
    sizes = {name: len(ids) for name, ids in split.items()}
    workspace = Workspace(
        out,
        {
            "dataset": "kitti_road",
            "seed": seed,
            "conversion": CONVERSION,
            "frames": len(frames),
            "source_files": _fingerprint(frames),
        },
    )
    if not workspace.done:
        tasks = [
            (workspace.folder / frame.folder, frame)
            for frame in frames
            if not is_converted(workspace.folder / frame.folder, frame)
        ]
        found = run_tasks(convert, tasks, workers=workers, unit="frames to convert")
        problems = [problem for problem in found if problem is not None]
        if problems:
            raise DataError(
                f"{source}: {len(problems)} of {len(frames)} frames could not be converted. Unpack "
                f"the archives anew and delete {workspace.folder}:\n{numbered(problems, _SHOWN)}"
            )
        workspace.finish(
            {"seed": seed, **{name: list(ids) for name, ids in split.items()}},
            counts=_counts(frames),
        )
    return sizes


def _check_download(source: Path, frames: list[RawFrame], workers: int | None) -> None:
    from mmcert.data.roads.kitti_road import ROAD_CLASSES, label_colours  # it needs torch

    colours = label_colours(ROAD_CLASSES, "background")
    problems = unpaired_files(frames)
    tasks = [(frame, colours) for frame in frames]
    for found in run_tasks(raw_problems, tasks, workers=workers, unit="frames to check"):
        problems += found
    if problems:
        raise DataError(
            f"{source}: {counted(problems)}, nothing was converted. Unpack the archives "
            f"anew:\n{numbered(problems, _SHOWN)}"
        )


def count_note(counts: dict[str, int]) -> str:
    """A sentence where the numbers of frames differ from those of the official download, else ''.

    >>> count_note({"um": 95, "umm": 96, "uu": 98, "testing": 290})
    ''
    """
    official = {**OFFICIAL, "testing": OFFICIAL_TESTING}
    found = {name: counts.get(name, 0) for name in official}
    if found == official and set(counts) <= set(official):
        return ""
    listed = ", ".join(f"{name} {number}" for name, number in counts.items())
    expected = ", ".join(f"{name} {number}" for name, number in official.items())
    return f"Note: the download has {listed}; the official one has {expected}."


def _counts(frames: list[RawFrame]) -> dict[str, int]:
    kinds = Counter(
        "testing" if frame.folder == "testing" else frame.image.stem.rpartition("_")[0]
        for frame in frames
    )
    return dict(sorted(kinds.items()))


def _fingerprint(frames: list[RawFrame]) -> str:
    """Names and sizes of what is converted: another download is not mistaken for this one.

    Calibrations by their content: whatever their numbers, they have the same number of digits.
    """
    lines = [
        f"{frame.folder}/{path.name} {path.stat().st_size}"
        for frame in frames
        for path in frame.files
    ]
    digest = hashlib.sha256("\n".join(lines).encode())
    for frame in frames:
        digest.update(frame.calibration.read_bytes())
    return f"{len(lines)} files, fingerprint {digest.hexdigest()[:16]}"


def _copies(folder: Path, frame: RawFrame) -> dict[Path, Path]:
    """Where the files that are taken as they are go, and where they come from."""
    copies = {
        folder / "image_2" / frame.image.name: frame.image,
        folder / "calib" / frame.calibration.name: frame.calibration,
    }
    if frame.label is not None:
        copies[folder / "gt_image_2" / frame.label.name] = frame.label
    return copies


def is_converted(folder: Path, frame: RawFrame) -> bool:
    """Whether all files of a frame are there; they are whole as soon as they have their names."""
    depth_file = folder / "depth_u16" / frame.image.name
    return depth_file.is_file() and all(path.is_file() for path in _copies(folder, frame))


def convert(folder: Path, frame: RawFrame) -> str | None:
    """Write the files of one frame.

    Returns:
        What is wrong with its scan, in which case nothing is written, or None.

    Raises:
        DataError: Where a file cannot be read.
    """
    image = read_rgb(frame.image)
    calibration = read_calibration(frame.calibration, needs=NEEDS)
    points = read_scan(frame.scan)
    try:
        depth = dense_depth(points, calibration, (image.shape[0], image.shape[1]))
    except DataError as error:
        return f"{frame.scan}: {error}"
    below = depth[max(0, int(calibration.camera()["v0"])) :]
    covered = float((below > 0).mean()) if below.size else 0.0
    if covered < _LEAST_COVERED:
        return (
            f"{frame.scan}: the scan covers only {covered:.0%} of the image below the horizon (a "
            f"whole one covers nearly all of it); it is cut off, or does not belong to "
            f"{frame.calibration}."
        )
    for target, origin in _copies(folder, frame).items():
        with whole_file(target) as temporary:
            shutil.copyfile(origin, temporary)
    with whole_file(folder / "depth_u16" / frame.image.name) as temporary:
        write_png(temporary, depth)
    return None

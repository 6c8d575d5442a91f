"""From the official download of KITTI Road to a folder with dense depth maps.

``data_road.zip`` and ``data_road_velodyne.zip`` of https://www.cvlibs.net/datasets/kitti, unpacked
side by side: ``data_road/{training,testing}/{image_2,calib,gt_image_2}`` and
``data_road_velodyne/{training,testing}/velodyne``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mmcert.data.calibration import read_calibration
from mmcert.data.images import read_rgb, write_png
from mmcert.data.kitti_layouts import label_path
from mmcert.data.lidar_depth import dense_depth, read_scan
from mmcert.data.splits import split_80_20
from mmcert.data.workspace import Workspace, run_tasks, whole_file
from mmcert.errors import DataError

NEEDS = ("P2", "R0_rect", "Tr_velo_to_cam")
#: Labelled frames of the official download.
OFFICIAL = {"um": 95, "umm": 96, "uu": 98}
OFFICIAL_TESTING = 290
#: Raised whenever the same scan gives another map.
CONVERSION = 1
_SHOWN = 30


@dataclass(frozen=True)
class RawFrame:
    """The files of one frame of the download; ``label`` is None for a frame of ``testing``."""

    folder: str
    image: Path
    calibration: Path
    scan: Path
    label: Path | None


def find_raw_frames(source: Path) -> list[RawFrame]:
    """The frames of a download, by folder and name.

    Args:
        source: The folder that holds ``data_road`` and ``data_road_velodyne``, or ``data_road``.

    Raises:
        DataError: Where a folder is missing or there are no images.
    """
    base = source if (source / "data_road").is_dir() else source.parent
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
        for image in sorted((folder / "image_2").glob("*.png")):
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


def raw_problems(frame: RawFrame) -> list[str]:
    """What is wrong with the files of a frame, without decoding them."""
    problems = []
    try:
        read_calibration(frame.calibration, needs=NEEDS)
    except DataError as error:
        problems.append(str(error))
    if not frame.scan.is_file():
        problems.append(f"{frame.scan}: the LiDAR scan is missing.")
    elif frame.scan.stat().st_size == 0 or frame.scan.stat().st_size % 16:
        problems.append(f"{frame.scan}: the LiDAR scan is empty or cut off.")
    sizes = {}
    for path in (frame.image, frame.label):
        if path is None:
            continue
        if not path.is_file():
            problems.append(f"{path}: missing.")
            continue
        try:
            with Image.open(path) as image:
                sizes[path] = image.size
        except (UnidentifiedImageError, OSError) as error:
            problems.append(f"{path}: cannot be read ({error}).")
    if len(sizes) == 2 and len(set(sizes.values())) == 2:
        (w1, h1), (w2, h2) = sizes.values()
        problems.append(f"{frame.label}: the label is {h2}x{w2}, its image is {h1}x{w1}.")
    return problems


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
    problems = [problem for frame in frames for problem in raw_problems(frame)]
    if problems:
        listed = "\n".join(
            f"  {number}. {text}" for number, text in enumerate(problems[:_SHOWN], 1)
        )
        more = f"\n  ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{source}: {len(problems)} problems, nothing was converted. Unpack the archives "
            f"anew:\n{listed}{more}"
        )
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
        tasks = [(workspace.folder / frame.folder, frame) for frame in frames]
        run_tasks(convert, tasks, workers=workers, unit="frames")
        workspace.finish(
            {"seed": seed, **{name: list(ids) for name, ids in split.items()}},
            counts=_counts(frames),
        )
    return sizes


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
    """Names and sizes of what is converted: another download is not mistaken for this one."""
    lines = [
        f"{frame.folder}/{path.name} {path.stat().st_size}"
        for frame in frames
        for path in (frame.image, frame.calibration, frame.scan, frame.label)
        if path is not None
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def convert(folder: Path, frame: RawFrame) -> None:
    """Write the files of one frame, unless they are there.

    Raises:
        DataError: Naming the file that does not fit.
    """
    copies = {
        folder / "image_2" / frame.image.name: frame.image,
        folder / "calib" / frame.calibration.name: frame.calibration,
    }
    if frame.label is not None:
        copies[folder / "gt_image_2" / frame.label.name] = frame.label
    depth_file = folder / "depth_u16" / frame.image.name
    if depth_file.is_file() and all(path.is_file() for path in copies):
        return
    image = read_rgb(frame.image)
    calibration = read_calibration(frame.calibration, needs=NEEDS)
    depth = dense_depth(read_scan(frame.scan), calibration, (image.shape[0], image.shape[1]))
    for target, origin in copies.items():
        with whole_file(target) as temporary:
            shutil.copyfile(origin, temporary)
    with whole_file(depth_file) as temporary:
        write_png(temporary, depth)

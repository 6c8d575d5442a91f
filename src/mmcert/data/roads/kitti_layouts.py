"""The three public layouts of KITTI Road, told apart by their folders.

- *flat* (MMCert): ``<root>/{image_2,depth_u16,calib,gt_image_2}``;
- *split* (SNE-RoadSeg): the same below ``<root>/{training,validation,testing}``, all labelled;
- *official*: ``<root>/[data_road/]{training,testing}``, where ``testing`` has no labels; if it
  has, its frames are the test split.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcert.data.splits import SPLITS, is_partition_of, split_80_20, split_90_10
from mmcert.data.visible_files import visible_files
from mmcert.errors import DataError

#: Folder of the split layout -> name of the split.
FOLDERS = {"training": "train", "validation": "val", "testing": "test"}
MANIFEST = "manifest.json"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Frame:
    """The files of one frame; those that the layout has no place for are None.

    Args:
        id: Sample id, e.g. ``um_000000``.
        image: ``image_2/<stem>.png``.
        depth: ``depth_u16/<stem>.png``.
        calibration: ``calib/<stem>.txt``.
        label: ``gt_image_2/<category>_road_<number>.png`` or ``gt_image_2/<stem>.png``; None where
            the folder holds no labels at all.
    """

    id: str
    image: Path
    depth: Path
    calibration: Path
    label: Path | None


@dataclass(frozen=True)
class Layout:
    """What a root holds.

    Args:
        kind: ``flat``, ``split`` or ``official``.
        frames: All frames by id.
        folders: Ids of each folder that was found, in sorted order.
        bad_names: One sentence for every image whose name cannot be an id; they are no frames.
    """

    kind: str
    frames: dict[str, Frame]
    folders: dict[str, tuple[str, ...]]
    bad_names: tuple[str, ...] = ()


def label_path(folder: Path, stem: str) -> Path:
    """Where the label of a frame is: KITTI's ``um_road_000000.png``, else the image's own name.

    >>> label_path(Path("gt_image_2"), "um_000000").as_posix()
    'gt_image_2/um_road_000000.png'
    """
    category, underscore, number = stem.rpartition("_")
    named_as_kitti = folder / f"{category}_road_{number}.png"
    own_name = folder / f"{stem}.png"
    if not underscore or (own_name.is_file() and not named_as_kitti.is_file()):
        return own_name
    return named_as_kitti


def name_problem(image: Path) -> str | None:
    """What is wrong with the name of an image, or None.

    >>> name_problem(Path("um_000000.png")) is None
    True
    """
    if _ID.fullmatch(image.stem) is not None:
        return None
    return (
        f"{image}: the name becomes the sample's id, in file names and on command lines; use "
        f"letters, digits, '.', '_' and '-' only, and begin with a letter or digit."
    )


def _frames_of(folder: Path, prefix: str, taken: dict[str, Frame]) -> list[Frame]:
    labels = folder / "gt_image_2"
    labelled = bool(visible_files(labels, "*.png"))
    frames = []
    for image in visible_files(folder / "image_2", "*.png"):
        if name_problem(image) is not None:
            continue
        stem = image.stem
        # KITTI numbers its training and testing images alike; only the later ones are renamed.
        name = f"{prefix}_{stem}" if stem in taken else stem
        if name in taken:
            raise DataError(
                f"{image}: its id would be {name}, which is that of {taken[name].image}; rename "
                f"one of them, with its depth map, calibration and label."
            )
        frames.append(
            Frame(
                id=name,
                image=image,
                depth=folder / "depth_u16" / f"{stem}.png",
                calibration=folder / "calib" / f"{stem}.txt",
                label=label_path(labels, stem) if labelled else None,
            )
        )
    return frames


def find_layout(root: Path) -> Layout:
    """Recognise the layout below ``root`` and list its frames.

    Images whose names cannot be ids are left to :func:`splits_of`, which refuses them, so that a
    check can list them beside everything else.

    Raises:
        DataError: Where no ``image_2`` folder is in one of the known places, or it has no images.
    """
    base = root / "data_road" if (root / "data_road").is_dir() else root
    if (base / "image_2").is_dir():
        folders = {"": base}
        kind = "flat"
    else:
        folders = {name: base / name for name in FOLDERS if (base / name / "image_2").is_dir()}
        kind = "split" if "validation" in folders else "official"
    frames: dict[str, Frame] = {}
    ids: dict[str, tuple[str, ...]] = {}
    images = [
        one for folder in folders.values() for one in visible_files(folder / "image_2", "*.png")
    ]
    bad_names = tuple(text for image in images if (text := name_problem(image)) is not None)
    for name, folder in folders.items():
        found = _frames_of(folder, name, frames)
        ids[name] = tuple(frame.id for frame in found)
        frames.update({frame.id: frame for frame in found})
    if not frames and not bad_names:
        raise DataError(
            f"{root}: no images of KITTI Road here. Expected *.png in image_2/, or in "
            f"{{training,validation,testing}}/image_2/, or in "
            f"data_road/{{training,testing}}/image_2/."
        )
    return Layout(kind, frames, ids, bad_names)


def stored_split(root: Path) -> dict[str, Any] | None:
    """The split that ``manifest.json`` of ``root`` states, or None.

    Raises:
        DataError: Where the manifest cannot be read.
    """
    path = root / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8-sig"))
        split = manifest.get("split")
        if split is not None:
            return {name: [str(one) for one in split[name]] for name in SPLITS}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: the manifest cannot be read ({error!r}); prepare the data anew, or delete "
            f"the file to split by name and seed."
        ) from error
    return None


def splits_of(layout: Layout, root: Path, seed: int) -> dict[str, tuple[str, ...]]:
    """Ids of train, val and test, and under ``rest`` those that are in none of them.

    In this order: the split stored in ``manifest.json``; the folders of the split layout; where
    ``testing`` has labels, it is the test split and ``training`` gives the validation frames;
    80/20 of the labelled frames by name and seed.

    Raises:
        DataError: Where the stored split names frames that are not there, or the name of an image
            cannot be an id.
    """
    if layout.bad_names:
        raise DataError("\n".join(layout.bad_names))
    given = stored_split(root)
    if given is not None:
        if not is_partition_of(given, list(layout.frames)):
            missing = [one for name in SPLITS for one in given[name] if one not in layout.frames]
            raise DataError(
                f"{root / MANIFEST}: the stored split names frames that are not there or are named "
                f"twice (missing: {missing[:3]}, {len(missing)} in all); prepare the data anew."
            )
        splits = {name: tuple(given[name]) for name in SPLITS}
    elif layout.kind == "split":
        splits = {FOLDERS[name]: ids for name, ids in layout.folders.items()}
    else:
        # Labelled frames of a folder called testing must never be trained on.
        tested = _labelled(layout, "testing")
        if tested and layout.kind == "official":
            splits = {**split_90_10(_labelled(layout, "training"), seed), "test": tested}
        else:
            splits = split_80_20(_labelled(layout, *layout.folders), seed)
    used = {name for ids in splits.values() for name in ids}
    return {**splits, "rest": tuple(name for name in layout.frames if name not in used)}


def _labelled(layout: Layout, *folders: str) -> tuple[str, ...]:
    ids = (name for folder in folders for name in layout.folders.get(folder, ()))
    return tuple(name for name in ids if layout.frames[name].label is not None)

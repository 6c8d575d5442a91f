"""What is needed to draw one sample: its input if it can be read, its truth, its certified maps.

The input is optional: the report of a run also works where the data are not. Only PNG files below
the data root that the run's configuration names are opened, under names made from checked ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from mmcert.errors import ConfigError, RecordError
from mmcert.records.ids import check_id
from mmcert.records.maps import ABSTAINED, UNLABELLED
from mmcert.records.meta import read_meta
from mmcert.records.votes import read_sample
from mmcert.reporting.comparison import budget_text
from mmcert.reporting.map_at import map_at
from mmcert.reporting.runs import Budget, Run

ByteArray = npt.NDArray[np.uint8]
#: Where a frame may lie below the data root: the public layouts of KITTI Road.
_PLACES = ("", "testing", "validation", "training")
#: An image larger than this is not opened (a decompression bomb).
LARGEST_IMAGE = 64_000_000


@dataclass(frozen=True)
class CertifiedMap:
    """The certified map of one run: class ids, 254 abstained, 255 unlabelled.

    Args:
        label: The run.
        classes: ``(H, W)`` uint8.
    """

    label: str
    classes: ByteArray

    @property
    def abstained(self) -> float:
        """Share of abstained elements among those that are labelled."""
        labelled = int((self.classes != UNLABELLED).sum())
        return int((self.classes == ABSTAINED).sum()) / labelled if labelled else 0.0


@dataclass(frozen=True)
class SamplePictures:
    """One sample, ready to be drawn.

    Args:
        id: Its id.
        rgb: ``(H, W, 3)`` uint8, or None where the data cannot be read.
        depth: ``(H, W)`` float metres, NaN where there is none, or None.
        truth: ``(H, W)`` class ids, 255 unlabelled, or None for unlabelled data.
        maps: One per run.
        budget: What the maps are certified against, in words.
        class_names: Names of the classes, or empty.
    """

    id: str
    rgb: ByteArray | None
    depth: npt.NDArray[np.float32] | None
    truth: ByteArray | None
    maps: tuple[CertifiedMap, ...]
    budget: str
    class_names: tuple[str, ...]


def mapped_ids(runs: Sequence[Run]) -> list[str]:
    """Ids of the samples that have a certified map in every run, sorted."""
    shared: set[str] | None = None
    for run in runs:
        known = set(run.ids)
        found = {path.stem for path in (run.path / "maps").glob("*.png")} & known
        shared = found if shared is None else shared & found
    return sorted(shared or ())


def choose_sample(runs: Sequence[Run], wanted: str | None) -> str | None:
    """The sample to draw: ``wanted``, else the one with the median abstained part in the first run.

    The median is neither the best nor the worst that the run has to show.

    Raises:
        ConfigError: Where ``wanted`` has no certified map in every run.
    """
    ids = mapped_ids(runs)
    if wanted is not None:
        if wanted not in ids:
            some = ", ".join(ids[:5]) or "none"
            raise ConfigError(
                f"sample={wanted}: no certified map of that sample in every run "
                f"(maps/<id>.png); those with one: {some}{', ...' if len(ids) > 5 else ''}."
            )
        return wanted
    if not ids:
        return None
    ranked = sorted(ids, key=lambda i: (_stored_map(runs[0], i)[0].abstained, i))
    return ranked[len(ranked) // 2]


def load_sample(runs: Sequence[Run], sample_id: str, budget: Budget | None) -> SamplePictures:
    """Everything that is there to draw of one sample.

    Args:
        runs: The runs.
        sample_id: A sample with a stored map in every run.
        budget: Budget of the maps, made from the votes; None, or where a run has lost its votes:
            the maps on disk, at their own budget.
    """
    maps: list[CertifiedMap] = []
    text = ""
    if budget is not None:
        made = [map_at(run, sample_id, budget) for run in runs]
        maps = [
            CertifiedMap(run.label, classes)
            for run, classes in zip(runs, made, strict=True)
            if classes is not None
        ]
        text = budget_text(runs[0].names, budget)
    if len(maps) < len(runs):
        stored = [_stored_map(run, sample_id) for run in runs]
        maps = [certified for certified, _ in stored]
        text = stored[0][1]
    size = maps[0].classes.shape
    rgb = depth = None
    for run in runs:
        if rgb is None:
            rgb = _read_rgb(run.config, sample_id, size)
        if depth is None:
            depth = _read_depth(run.config, sample_id, size)
    return SamplePictures(
        id=sample_id,
        rgb=rgb,
        depth=depth,
        truth=_read_truth(runs, sample_id, size),
        maps=tuple(maps),
        budget=text,
        class_names=next((run.class_names for run in runs if run.class_names), ()),
    )


def _stored_map(run: Run, sample_id: str) -> tuple[CertifiedMap, str]:
    """The map on disk, and the budget that it states."""
    path = run.path / "maps" / f"{check_id(sample_id, str(run.path))}.png"
    image, facts = _open(path)
    if image is None or image.ndim != 2 or image.dtype != np.uint8:
        raise RecordError(
            f"{path}: not a certified map (8-bit greyscale PNG); run mmcert-evaluate again."
        )
    try:
        budget = json.loads(facts["budget"])
        text = budget_text(run.names, tuple(int(budget[name]) for name in run.names))
    except (ValueError, KeyError, TypeError):
        text = "the budget of the run"
    return CertifiedMap(run.label, image), text


def _open(path: Path) -> tuple[npt.NDArray[Any] | None, dict[str, str]]:
    """The pixels and text chunks of a PNG; None where it is missing or no readable PNG."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > LARGEST_IMAGE:
                return None, {}
            pixels = np.asarray(image)
            facts = {str(k): str(v) for k, v in image.info.items() if isinstance(v, str)}
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None, {}
    return pixels, facts


def _find(config: Mapping[str, Any], folder: str, sample_id: str) -> Path | None:
    data = config.get("data")
    root = data.get("root") if isinstance(data, Mapping) else None
    if not isinstance(root, str) or not root:
        return None
    check_id(sample_id, "a sample")
    for base in (Path(root), Path(root) / "data_road"):
        for place in _PLACES:
            stem = sample_id.removeprefix(f"{place}_") if place else sample_id
            path = base / place / folder / f"{stem}.png"
            if path.is_file():
                return path
    return None


def _read_rgb(config: Mapping[str, Any], sample_id: str, size: tuple[int, ...]) -> ByteArray | None:
    path = _find(config, "image_2", sample_id)
    pixels = _open(path)[0] if path else None
    if pixels is None or pixels.ndim != 3 or pixels.shape[:2] != size or pixels.dtype != np.uint8:
        return None
    return pixels[..., :3]


def _read_depth(
    config: Mapping[str, Any], sample_id: str, size: tuple[int, ...]
) -> npt.NDArray[np.float32] | None:
    path = _find(config, "depth_u16", sample_id)
    pixels = _open(path)[0] if path else None
    if pixels is None or pixels.shape != size:
        return None
    options = config["data"].get("options")
    scale = options.get("depth_scale") if isinstance(options, Mapping) else None
    metres = pixels.astype(np.float32) / np.float32(scale or 1000.0)
    return np.where(metres > 0, metres, np.float32(np.nan))


def _read_truth(runs: Sequence[Run], sample_id: str, size: tuple[int, ...]) -> ByteArray | None:
    """The ground truth as the votes store it; None where they are gone or have none."""
    for run in runs:
        for folder in run.votes:
            if not (folder / f"{sample_id}.npz").is_file():
                continue
            meta = read_meta(folder)
            target = read_sample(folder, sample_id, meta).target
            if target is not None and target.shape == size:
                return np.where(target == meta.ignore_index, UNLABELLED, target).astype(np.uint8)
    return None

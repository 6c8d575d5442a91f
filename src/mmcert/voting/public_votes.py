"""Votes of the public MMCert code, ``*_all_outputs.pth``, as a votes folder of our format.

The file is a ``torch.save`` of ``{"all_pred": integer (N, S, H, W), "all_gt": integer
(1, S, H, W)}``: the label of each of ``N`` draws for each pixel of ``S`` images, without ids. At
N = 100 and 58 images it takes 10.8 GB, so it is memory-mapped and counted image by image.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcert.errors import ConfigError, RecordError
from mmcert.records.votes import SampleVotes, VotesMeta, write_meta, write_sample
from mmcert.theory.modality import ON_A_GRID
from mmcert.theory.schemes import make_scheme
from mmcert.voting.counting import VoteCounter

#: What the numbers of the public code get wrong on the same votes, for people who compare.
WHAT_DIFFERS = (
    "Numbers of the public code on the same votes are higher where its Holm step goes on counting "
    "after the first hypothesis that is not rejected (at r = 17 it reports .1555 where Holm "
    "certifies nothing), by one pixel per image from an off-by-one, and where its certificate uses "
    "another k than its sampler kept (8988 and 996 against 8989 and 997). They are lower where its "
    "search for the p-value stores the first failing level or runs out of steps, so that more "
    "draws certify less. Certificates here are exact for the k given in scheme.k."
)


def is_public_votes(path: str | Path) -> bool:
    """Whether ``votes=`` names a file of the public code."""
    return Path(path).suffix == ".pth" and Path(path).is_file()


def import_public_votes(
    path: str | Path,
    folder: Path,
    *,
    scheme: str,
    k: Mapping[str, int],
    classes: int = 2,
    ignore_index: int = 255,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VotesMeta:
    """Count the votes of a public file into ``folder`` (``<id>.npz``, and ``meta.json`` last).

    Images are named ``image_0000`` on, in the order of the file: it holds no ids.

    Args:
        path: The ``.pth`` file.
        folder: A votes folder; made.
        scheme: Name of the scheme that its sampler realised.
        k: Pixels that its sampler kept per modality (the public one kept 8989 and 997); every
            modality has ``n = H * W`` pixels.
        classes: ``C``.
        ignore_index: Label of pixels without one.
        progress: Called with images done and images in all.

    Raises:
        RecordError: Where the file is missing, no plain tensors, or of another layout.
        ConfigError: Where ``k`` does not fit the images.
    """
    if not k:
        raise ConfigError(
            "votes of the public code do not say what was retained: set scheme.k={rgb: 8989, "
            "depth: 997}, the counts that its sampler kept (not those of its certificate)."
        )
    predicted, truth = _tensors(Path(path))
    draws, images, height, width = predicted.shape
    n = dict.fromkeys(k, height * width)
    made = make_scheme(
        scheme,
        n,
        k=k,
        elements=dict.fromkeys(k, "pixel (all channels)"),
        modification_only=dict.fromkeys(k, ON_A_GRID),
    )
    meta = VotesMeta(
        "segmentation", scheme, made.modalities, draws, classes, ignore_index=ignore_index
    )
    for index in range(images):
        sample_id = f"image_{index:04d}"
        counter = VoteCounter(classes, sample_id)
        for draw in range(draws):
            counter.add(predicted[draw : draw + 1, index].to(torch.int64))
        target = None if truth is None else np.asarray(truth[0, index], np.int64)
        sample = SampleVotes(sample_id, counter.counts(), target, draws, made)
        write_sample(folder, sample, meta)
        progress(index + 1, images)
    write_meta(folder, meta)
    return meta


def _tensors(path: Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise RecordError(f"{path}: there is no such file.") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecordError(
            f"{path} is not a file of plain tensors that can be memory-mapped ({reason}); save it "
            f"again with torch.save of torch 1.6 or newer."
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("all_pred"), torch.Tensor):
        raise RecordError(
            f"{path} holds no tensor 'all_pred'; this is not an *_all_outputs.pth of the public "
            f"MMCert code."
        )
    predicted, truth = content["all_pred"], content.get("all_gt")
    if predicted.ndim != 4 or predicted.is_floating_point():
        raise RecordError(
            f"{path}: all_pred must be integer (N, S, H, W), not {predicted.dtype} "
            f"{tuple(predicted.shape)}."
        )
    if truth is not None and tuple(truth.shape) != (1, *predicted.shape[1:]):
        raise RecordError(
            f"{path}: all_gt must have the shape (1, S, H, W) = {(1, *predicted.shape[1:])}, not "
            f"{tuple(truth.shape)}."
        )
    return predicted, truth

"""AV-MNIST: a handwritten digit and the same digit spoken (Vielzeuf et al., 2018).

Images: MNIST (LeCun, Cortes, Burges; CC BY-SA 3.0). Recordings: Free Spoken Digit Dataset (Jackson
et al.; CC BY-SA 4.0), 8 kHz. The median recording lasts 0.4 s, so more than half of the 50 chunks
of a second are silence that was padded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmcert.data.base import Item, MultiModalDataset
from mmcert.data.digits.avmnist_files import RATE, Recording, find_recordings, read_images, read_wav
from mmcert.data.splits import seeded_hash, seeded_order
from mmcert.errors import DataError
from mmcert.theory.modality import ON_A_GRID, InputSpec

CHUNKS = 50
TEST_IMAGES = 1000
VALIDATION_IMAGES = 500
#: Share of the training speakers' recordings that only validation hears.
HELD_OUT = 0.1


class AVMNIST(MultiModalDataset):
    """Pairs of an image and a recording of the same digit; one pair for every image.

    ``image`` is ``(1, 28, 28)`` float32 in [0, 1], an element is a pixel; ``audio`` is
    ``(50, 160)`` float32 in [-1, 1), one second at 8 kHz from the start of the recording, an
    element is a chunk of 160 samples as chunked. Nothing is normalised per clip or per image.

    Test: the last 1000 images with the recordings of the speaker who is last in sorted order.
    Validation: 500 of the other images, chosen by the seed, with recordings of the other speakers
    that training never hears. The recording of an image is chosen by a hash of the seed and the
    image's index among those of its split and digit.

    Args:
        split: ``train``, ``val``, ``test`` or ``all``.
        root: Folder with ``images-idx3-ubyte.gz`` and ``labels-idx1-ubyte.gz`` (or MNIST's own
            files) and ``recordings/``.
        seed: Seed of the pairing and of validation.
        max_samples: Use only so many samples.
        stored_split: Split of an earlier run.

    Raises:
        DataError: Where files are missing or corrupt, or too few for the splits.
    """

    name = "avmnist"
    task = "classification"
    classes = tuple(str(digit) for digit in range(10))
    inputs = {  # noqa: RUF012 - the base class declares it for instances; nobody writes to it
        "image": InputSpec((1, 28, 28), (1, 2), "pixel", ON_A_GRID),
        "audio": InputSpec(
            (CHUNKS, RATE // CHUNKS),
            (0,),
            "chunk of 160 samples at 8 kHz",
            "a recording is cut off or filled up with silence after one second, so an element "
            "added or deleted would move others in or out",
        ),
    }

    def __init__(
        self,
        split: str,
        *,
        root: str | Path,
        seed: int = 0,
        max_samples: int | None = None,
        stored_split: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            split, root=root, seed=seed, max_samples=max_samples, stored_split=stored_split
        )
        part_of = {name: part for part, ids in self.splits.items() for name in ids}
        self._index = {name: int(name.removeprefix("image_")) for name in self.ids}
        pairs = {name: self._recording(part_of[name], index) for name, index in self._index.items()}
        used = sorted({recording.path for recording in pairs.values()})
        row = {path: number for number, path in enumerate(used)}
        self._clips: NDArray[np.int16] = np.stack([read_wav(path) for path in used])
        self._pairs = pairs
        self._row = {name: row[recording.path] for name, recording in pairs.items()}

    @classmethod
    def how_to_make(cls, root: Path) -> str:
        """See the base class."""
        return (
            "Put MNIST's files (images-idx3-ubyte.gz, labels-idx1-ubyte.gz or their original "
            f"names) and the folder recordings of the Free Spoken Digit Dataset into {root}, or "
            f"set data.root."
        )

    def find_splits(self, seed: int) -> dict[str, tuple[str, ...]]:
        """See the base class."""
        self._images, self._labels = read_images(self.root)
        total = len(self._images)
        if total < TEST_IMAGES + VALIDATION_IMAGES + 1:
            raise DataError(
                f"{self.root}: {total} images are too few; {TEST_IMAGES} are for testing and "
                f"{VALIDATION_IMAGES} for validation."
            )
        self._pools = recording_pools(find_recordings(self.root), seed)
        names = [f"image_{index:05d}" for index in range(total)]
        learning = names[: total - TEST_IMAGES]
        val = set(seeded_order(learning, seed, "validation images")[:VALIDATION_IMAGES])
        return {
            "train": tuple(name for name in learning if name not in val),
            "val": tuple(name for name in learning if name in val),
            "test": tuple(names[total - TEST_IMAGES :]),
        }

    def _recording(self, part: str, index: int) -> Recording:
        digit = int(self._labels[index])
        pool = self._pools[part][digit]
        return pool[seeded_hash(self.seed, "pair", index) % len(pool)]

    def load(self, sample_id: str) -> Item:
        """See the base class."""
        index = self._index[sample_id]
        image = torch.from_numpy(self._images[index].astype(np.float32))[None] / 255
        clip = self._clips[self._row[sample_id]].astype(np.float32) / np.float32(32768)
        return {
            "id": sample_id,
            "inputs": {"image": image, "audio": torch.from_numpy(clip.reshape(CHUNKS, -1))},
            "target": torch.tensor(int(self._labels[index])),
            "meta": {"recording": self._pairs[sample_id].path.name},
        }


def recording_pools(
    recordings: list[Recording], seed: int
) -> dict[str, dict[int, list[Recording]]]:
    """Split -> digit -> its recordings: disjoint, and test has a speaker of its own.

    Raises:
        DataError: Where there is only one speaker, or a split has no recording of a digit.
    """
    speakers = sorted({recording.speaker for recording in recordings})
    folder = recordings[0].path.parent
    if len(speakers) < 2:
        raise DataError(
            f"{folder}: only the speaker {speakers[0]}; one is held out for testing, so two are "
            f"needed."
        )
    pools: dict[str, dict[int, list[Recording]]] = {
        part: {digit: [] for digit in range(10)} for part in ("train", "val", "test")
    }
    for digit in range(10):
        of_digit = [one for one in recordings if one.digit == digit]
        learning = {one.path.name: one for one in of_digit if one.speaker != speakers[-1]}
        order = seeded_order(learning, seed, "validation recordings")
        held = set(order[: max(1, round(HELD_OUT * len(order)))])
        pools["test"][digit] = [one for one in of_digit if one.speaker == speakers[-1]]
        pools["val"][digit] = [one for name, one in learning.items() if name in held]
        pools["train"][digit] = [one for name, one in learning.items() if name not in held]
        for part in pools:
            if not pools[part][digit]:
                raise DataError(
                    f"{folder}: no recording of the digit {digit} for the split '{part}' (test "
                    f"speaker: {speakers[-1]}; validation holds out "
                    f"{HELD_OUT:.0%} of the others, at least one)."
                )
    return pools

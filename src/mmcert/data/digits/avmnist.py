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
from mmcert.errors import ConfigError, DataError
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

    Test: the last 1000 images with the recordings of one speaker. Validation: 500 of the other
    images, chosen by the seed, with the recordings of a second speaker or, where none is named,
    with a tenth of the recordings of everybody but the test speaker; what validation hears,
    training does not. The recording of an image is chosen by a hash of the seed and the image's
    index among those of its split and digit.

    Args:
        split: ``train``, ``val``, ``test`` or ``all``.
        root: Folder with ``images-idx3-ubyte.gz`` and ``labels-idx1-ubyte.gz`` (or MNIST's own
            files) and ``recordings/``.
        seed: Seed of the pairing and of validation.
        max_samples: Use only so many samples.
        stored_split: Split of an earlier run.
        test_speaker: Whose voice only the test split has; by default the last in sorted order.
        validation_speaker: Whose voice only validation has: what is chosen on it is chosen for
            voices that training never heard, at the price of one voice less to learn from. By
            default nobody.

    Raises:
        DataError: Where files are missing or corrupt, or too few for the splits.
        ConfigError: For a speaker who is not there, or one for two splits.
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
        test_speaker: str | None = None,
        validation_speaker: str | None = None,
    ) -> None:
        self._speakers = (test_speaker, validation_speaker)
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
        self._pools = recording_pools(find_recordings(self.root), seed, *self._speakers)
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
    recordings: list[Recording],
    seed: int,
    test_speaker: str | None = None,
    validation_speaker: str | None = None,
) -> dict[str, dict[int, list[Recording]]]:
    """Split -> digit -> its recordings: disjoint, and test has a speaker of its own.

    Args:
        recordings: All of them.
        seed: Seed of the recordings that validation hears, where it has no speaker of its own.
        test_speaker: See :class:`AVMNIST`.
        validation_speaker: See :class:`AVMNIST`.

    Raises:
        DataError: Where there are too few speakers, or a split has no recording of a digit.
        ConfigError: For a speaker who is not there, or one for two splits.
    """
    speakers = sorted({recording.speaker for recording in recordings})
    folder = recordings[0].path.parent
    needed = 2 if validation_speaker is None else 3
    if len(speakers) < needed:
        raise DataError(
            f"{folder}: only the speaker{'s' * (len(speakers) > 1)} {' and '.join(speakers)}; one "
            f"is held out for testing{' and one for validation' * (needed - 2)}, so "
            f"{('two', 'three')[needed - 2]} are needed."
        )
    test = speakers[-1] if test_speaker is None else test_speaker
    for key, speaker in (("test", test), ("validation", validation_speaker)):
        if speaker is not None and speaker not in speakers:
            raise ConfigError(
                f"data.options.{key}_speaker={speaker} is nobody in {folder}; there are "
                f"{', '.join(speakers)}."
            )
    if validation_speaker == test:
        raise ConfigError(
            f"data.options.validation_speaker={test} is the test speaker too: what is chosen on "
            f"validation would be chosen on the test voice. Name another one."
        )
    pools: dict[str, dict[int, list[Recording]]] = {
        part: {digit: [] for digit in range(10)} for part in ("train", "val", "test")
    }
    for digit in range(10):
        of_digit = [one for one in recordings if one.digit == digit]
        learning = {one.path.name: one for one in of_digit if one.speaker != test}
        if validation_speaker is None:
            order = seeded_order(learning, seed, "validation recordings")
            held = set(order[: max(1, round(HELD_OUT * len(order)))])
        else:
            held = {name for name, one in learning.items() if one.speaker == validation_speaker}
        pools["test"][digit] = [one for one in of_digit if one.speaker == test]
        pools["val"][digit] = [one for name, one in learning.items() if name in held]
        pools["train"][digit] = [one for name, one in learning.items() if name not in held]
        for part in pools:
            if not pools[part][digit]:
                heard = validation_speaker or f"{HELD_OUT:.0%} of the others, at least one"
                raise DataError(
                    f"{folder}: no recording of the digit {digit} for the split '{part}' (test "
                    f"speaker: {test}; validation holds out {heard})."
                )
    return pools

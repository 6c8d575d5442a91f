"""RAVDESS: faces and voices of actors who speak two sentences with eight emotions.

Livingstone, Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)",
PLoS ONE 13(5), 2018; DOI 10.5281/zenodo.1188976; licence CC BY-NC-SA 4.0. 1440 speech clips of 24
actors. ``mmcert-prepare dataset=ravdess`` makes the folder that is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmcert.data.base import Item, MultiModalDataset
from mmcert.data.speech.actors import split_by_actor
from mmcert.data.speech.elements import Prepared, read_elements, read_prepared
from mmcert.data.speech.mfcc import COEFFICIENTS, mfcc, mfcc_frames
from mmcert.data.speech.names import EMOTIONS, clip_name
from mmcert.data.speech.windows import CHUNK, RATE, WINDOWED_BY_DURATION
from mmcert.errors import ConfigError
from mmcert.quoting import command_line
from mmcert.theory.modality import InputSpec

SOUNDS = ("chunks", "mfcc")


class Ravdess(MultiModalDataset):
    """Emotions in clips of one person who speaks, prepared by ``mmcert-prepare dataset=ravdess``.

    ``video`` is ``(n, 3, crop, crop)`` float32 in [0, 1], an element is the face in one frame;
    ``audio`` is ``(n, 735)`` float32 in [-1, 1), an element is a chunk of waveform samples, or
    ``(n, 10)`` with ``audio="mfcc"``, an element is a frame of cepstral coefficients. Elements are
    counted by the first axis. The target is the emotion; ``meta`` holds ``actor``, ``intensity``.

    Every clip is read when it is asked for; nothing stays in memory but coefficients, 6 kB a clip.

    Args:
        split: ``train``, ``val``, ``test`` or ``all``.
        root: The prepared folder.
        seed: Seed of ``validation_share`` and of ``max_samples``.
        max_samples: Use only so many samples.
        stored_split: Split of an earlier run.
        modalities: ``video`` and ``audio``, or one of them; None: those that were prepared.
        audio: ``chunks``, or ``mfcc``.
        frames: Frames picked evenly from those of the clip, as the published nets do it; None: all.
        test_actors: Numbers of the actors to test, see
            :func:`mmcert.data.speech.actors.actor_parts`; None: a sixth of them.
        validation_actors: Numbers of the actors to validate; None: another sixth.
        validation_share: Share of the learning actors' clips that validate too.

    Raises:
        DataError: See :class:`~mmcert.data.base.MultiModalDataset`; or where the folder was not
            prepared.
        ConfigError: For an option that does not fit what was prepared.
    """

    name = "ravdess"
    task = "classification"
    classes = EMOTIONS

    def __init__(
        self,
        split: str,
        *,
        root: str | Path,
        seed: int = 0,
        max_samples: int | None = None,
        stored_split: Mapping[str, Any] | None = None,
        modalities: Sequence[str] | None = None,
        audio: str = "chunks",
        frames: int | None = None,
        test_actors: Sequence[int] | None = None,
        validation_actors: Sequence[int] | None = None,
        validation_share: float = 0.0,
    ) -> None:
        if audio not in SOUNDS:
            raise ConfigError(f"data.options.audio={audio} must be one of {', '.join(SOUNDS)}.")
        if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int)):
            raise ConfigError(f"data.options.frames={frames} must be a number of frames, or null.")
        self._audio = audio
        self._frames = frames
        named = (modalities,) if isinstance(modalities, str) else modalities
        self._wanted = None if named is None else tuple(named)
        self._choice = {
            "test": _actors("test_actors", test_actors),
            "validation": _actors("validation_actors", validation_actors),
        }
        self._validation_share = validation_share
        self._coefficients: dict[str, NDArray[np.float32]] = {}
        super().__init__(
            split, root=root, seed=seed, max_samples=max_samples, stored_split=stored_split
        )
        self._check_stored_actors()
        self.inputs = self._input_specs()

    @classmethod
    def how_to_make(cls, root: Path) -> str:
        """See the base class."""
        return (
            "From the archives of RAVDESS, unpacked below one folder, which is source:\n  "
            + command_line("prepare", "dataset=ravdess", source="downloads", out=root)
        )

    def find_splits(self, seed: int) -> dict[str, tuple[str, ...]]:
        """See the base class."""
        self._prepared: Prepared = read_prepared(self.root, self.how_to_make(self.root))
        return split_by_actor(
            self._prepared.ids,
            seed=seed,
            test=self._choice["test"],
            validation=self._choice["validation"],
            validation_share=self._validation_share,
        )

    def _check_stored_actors(self) -> None:
        """Refuse test actors on the command line that are not those of the checkpoint.

        Raises:
            ConfigError: Naming both.
        """
        asked = self._choice["test"]
        if asked is None or not self.split_is_stored:
            return
        stored = sorted({clip_name(one).actor for one in self.splits["test"]})
        if sorted(asked) != stored:
            raise ConfigError(
                f"data.options.test_actors={asked}: the split of the checkpoint tests the actors "
                f"{stored}; it heard others in training. Train with these test_actors first."
            )

    def _input_specs(self) -> dict[str, InputSpec]:
        there = self._prepared.modalities
        wanted = there if self._wanted is None else self._wanted
        unknown = [name for name in wanted if name not in there]
        if unknown or not wanted:
            raise ConfigError(
                f"data.options.modalities={list(wanted)}: {self.root} was prepared with "
                f"{', '.join(there)}."
            )
        makers = {"video": self._video_spec, "audio": self._audio_spec}
        return {name: makers[name]() for name in there if name in wanted}

    def _video_spec(self) -> InputSpec:
        n, crop = self._prepared.sizes["video"], self._prepared.crop
        reason = "" if self._prepared.whole else WINDOWED_BY_DURATION
        if self._frames is not None:
            if self._frames < 1 or (n is not None and self._frames > n):
                raise ConfigError(
                    f"data.options.frames={self._frames} must be a number from 1 to "
                    f"{n or 'those of the shortest clip'}."
                )
            n = self._frames
            picked = (
                f"{n} frames are picked evenly from those of the clip, so a frame added or deleted "
                f"would change which; set data.options.frames=null"
            )
            reason = f"{reason}; and {picked}" if reason else picked
        element = (
            f"visual frame: the crop of the face, {crop}x{crop} pixels, all channels; its box "
            f"follows from other frames too, so the attacker edits crops, not the video file"
        )
        return InputSpec((n, 3, crop, crop), (0,), element, reason)

    def _audio_spec(self) -> InputSpec:
        n = self._prepared.sizes["audio"]
        reason = "" if self._prepared.whole else WINDOWED_BY_DURATION
        if self._audio == "mfcc":
            frames = None if n is None else mfcc_frames(n * CHUNK)
            element = (
                f"frame of {COEFFICIENTS} MFCC: windows overlap and their floor is relative to the "
                f"clip's maximum, so the attacker edits coefficients, not the waveform"
            )
            return InputSpec((frames, COEFFICIENTS), (0,), element, reason)
        element = (
            f"chunk of {CHUNK} waveform samples at {RATE} Hz, as chunked after mixing down and "
            f"resampling: the attacker edits the resampled waveform"
        )
        return InputSpec((n, CHUNK), (0,), element, reason)

    def load(self, sample_id: str) -> Item:
        """See the base class."""
        readers = {"video": self._video, "audio": self._sound}
        name = clip_name(sample_id)
        return {
            "id": sample_id,
            "inputs": {
                modality: torch.from_numpy(readers[modality](sample_id)) for modality in self.inputs
            },
            "target": torch.tensor(name.emotion),
            "meta": {"actor": name.actor, "intensity": name.intensity},
        }

    def _video(self, sample_id: str) -> NDArray[np.float32]:
        some = self._frames is not None
        crops = read_elements(self.root, self._prepared, sample_id, "video", mapped=some)
        if self._frames is not None:
            if self._frames > len(crops):
                raise ConfigError(
                    f"data.options.frames={self._frames}: sample '{sample_id}' has only "
                    f"{len(crops)} frames."
                )
            crops = crops[evenly_picked(len(crops), self._frames)]
        return np.multiply(crops, np.float32(1 / 255), dtype=np.float32)

    def _sound(self, sample_id: str) -> NDArray[np.float32]:
        if sample_id in self._coefficients:
            return self._coefficients[sample_id]
        chunks = read_elements(self.root, self._prepared, sample_id, "audio")
        waveform = np.multiply(chunks, np.float32(1 / 32768), dtype=np.float32)
        if self._audio == "chunks":
            return waveform
        self._coefficients[sample_id] = mfcc(waveform.reshape(-1))
        return self._coefficients[sample_id]


def evenly_picked(n: int, frames: int) -> list[int]:
    """Indices of the middles of so many equal parts of ``n`` frames.

    >>> evenly_picked(108, 15)[:3], evenly_picked(108, 15)[-1]
    ([3, 10, 18], 104)
    """
    return [(2 * i + 1) * n // (2 * frames) for i in range(frames)]


def _actors(key: str, given: object) -> list[int] | None:
    """A list of actors, from a list or one number.

    Raises:
        ConfigError: For anything else.
    """
    if given is None:
        return None
    actors = [given] if isinstance(given, int) else given
    whole = isinstance(actors, Sequence) and not isinstance(actors, str)
    if not whole or not all(isinstance(a, int) and not isinstance(a, bool) for a in actors):  # type: ignore[attr-defined]
        raise ConfigError(f"data.options.{key}={given} must be a list of actors, e.g. [3,4].")
    return list(actors)  # type: ignore[call-overload]

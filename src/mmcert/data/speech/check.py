"""Reading every file of a prepared folder and listing everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from mmcert.data.problems import gather
from mmcert.data.speech.actors import split_by_actor
from mmcert.data.speech.elements import Prepared, read_elements, read_prepared
from mmcert.data.speech.names import EMOTIONS, clip_name
from mmcert.data.workspace import changed_files, read_manifest, run_tasks


def check_speech(root: Path, *, workers: int | None) -> tuple[list[str], str]:
    """Check a folder that ``mmcert-prepare dataset=ravdess`` made.

    Args:
        root: The folder.
        workers: Processes; None: one per core.

    Returns:
        All problems, one sentence each, and a summary of what is there.
    """
    problems: list[str] = []
    if not root.is_dir():
        return [f"{root}: the folder does not exist."], "nothing there"
    advice = "Prepare the data anew, with mmcert-prepare dataset=ravdess."
    prepared = gather(problems, partial(read_prepared, complete=False), root, advice)
    if prepared is None:
        return problems, "no clips"
    tasks = [(root, prepared, clip_id) for clip_id in prepared.ids]
    silent: list[str] = []
    for clip_id, (wrong, constant) in zip(
        prepared.ids, run_tasks(check_clip, tasks, workers=workers, unit="clips"), strict=True
    ):
        problems += wrong
        silent += [f"{clip_id} ({name})" for name in constant]
    manifest = gather(problems, read_manifest, root)
    if manifest is not None:
        problems += changed_files(root, manifest)
    problems += [f"{root}: nothing but one value in all elements of {one}." for one in silent]
    return problems, _summary(prepared)


def check_clip(root: Path, prepared: Prepared, clip_id: str) -> tuple[list[str], list[str]]:
    """Read the files of one clip.

    Returns:
        What is wrong, and the modalities in which every value is the same.
    """
    problems: list[str] = []
    constant = []
    for name in prepared.modalities:
        array = gather(problems, read_elements, root, prepared, clip_id, name)
        if array is not None and array.min() == array.max():
            constant.append(name)
    return problems, constant


def _summary(prepared: Prepared) -> str:
    names = [clip_name(clip_id) for clip_id in prepared.ids]
    emotions = Counter(name.emotion for name in names)
    actors = {name.actor for name in names}
    split = split_by_actor(prepared.ids)
    sizes = ", ".join(
        f"{name} with {prepared.sizes[name] or 'as many elements as the clip has'}"
        + ("" if prepared.sizes[name] is None else " elements")
        for name in prepared.modalities
    )
    return (
        f"{len(names)} clips of {len(actors)} actors ("
        + ", ".join(f"{part} {len(ids)}" for part, ids in split.items())
        + f"); {sizes}; "
        + ", ".join(f"{EMOTIONS[emotion]} {count}" for emotion, count in sorted(emotions.items()))
    )

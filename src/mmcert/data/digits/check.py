"""Reading every file of an AV-MNIST folder and listing everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

from mmcert.data.digits.avmnist import recording_pools
from mmcert.data.digits.avmnist_files import find_recordings, read_images, read_wav
from mmcert.data.problems import gather


def check_avmnist(root: Path) -> tuple[list[str], str]:
    """Check a folder of AV-MNIST: every array and every recording.

    Returns:
        All problems, one sentence each, and a summary of what is there.
    """
    problems: list[str] = []
    images = gather(problems, read_images, root)
    recordings = gather(problems, find_recordings, root) or []
    for recording in recordings:
        gather(problems, read_wav, recording.path)
    if recordings:
        gather(problems, recording_pools, recordings, 0)
    count = 0 if images is None else len(images[0])
    return problems, f"{count} images, {len(recordings)} recordings"

"""Writing synthetic talking faces: the files of RAVDESS' speech part, in a folder per actor."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmcert.data.problems import gather
from mmcert.data.speech.media import media_library
from mmcert.data.speech.movies import write_movie, write_wav
from mmcert.data.speech.names import ACTORS
from mmcert.data.speech.talkingworld.clips import CLIPS_OF_AN_ACTOR, Clip, clips_of
from mmcert.data.workspace import Workspace, changed_files, read_manifest, run_tasks, whole_file
from mmcert.errors import ConfigError

#: Raised whenever the same seed gives another world.
WORLD = 1
#: Rows and columns in pixels between which a face can be drawn and found.
_SIDES = (120, 2160)


def write_synthetic_speech(
    out: Path,
    *,
    clips: int,
    size: Sequence[int],
    seed: int,
    workers: int | None = None,
) -> int:
    """Write a data set; the same arguments give the same bytes, for any number of workers.

    The bytes are those of one version of x264 and FFmpeg, as PyAV brings them; another version may
    compress the same pictures and sounds to other bytes.

    Args:
        out: Folder to make: ``Actor_NN/01-01-EE-II-SS-RR-NN.mp4`` with picture and sound,
            ``Actor_NN/03-01-EE-II-SS-RR-NN.wav`` with the same sound, and ``manifest.json``.
        clips: Clips in all, at most the 1440 of RAVDESS. Actors take turns; a smaller set is a part
            of a larger one.
        size: Rows and columns of the pictures, even numbers.
        seed: A clip depends on the seed and its name only.
        workers: Processes; None: one per core.

    Returns:
        The number of actors.

    Raises:
        ConfigError: For values out of range, or where the extra ``video`` is not installed.
        DataError: Where ``out`` holds something else.
    """
    most = ACTORS * CLIPS_OF_AN_ACTOR
    if isinstance(clips, bool) or not isinstance(clips, int) or not 1 <= clips <= most:
        raise ConfigError(
            f"clips={clips} must be an integer from 1 to {most}, the clips of RAVDESS: "
            f"{ACTORS} actors with {CLIPS_OF_AN_ACTOR} each."
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed={seed} must be an integer, 0 or more.")
    rows, columns = _checked_size(size)
    for module in ("av", "cv2"):  # before a process is started or a folder is made
        media_library(module)
    settings = {
        "dataset": "synthetic_speech",
        "clips": clips,
        "size": [rows, columns],
        "seed": seed,
        "world": WORLD,
    }
    wanted = clips_of(clips, seed)
    actors = len({clip.actor for clip in wanted})
    workspace = Workspace(out, settings)
    if workspace.done:
        return actors
    tasks = [(workspace.folder, clip, (rows, columns), seed) for clip in wanted]
    run_tasks(write_clip, tasks, workers=workers, unit="clips")
    # Raw files have no split: preparing them makes one that no actor crosses.
    workspace.finish({}, made_by=_versions())
    return actors


def check_synthetic_speech(root: Path) -> tuple[list[str], str]:
    """Check raw files against the manifest that was written with them.

    Returns:
        All problems, one sentence each, and a summary of what is there.
    """
    problems: list[str] = []
    if not root.is_dir():
        return [f"{root}: the folder does not exist."], "nothing there"
    manifest = gather(problems, read_manifest, root)
    if manifest is None or manifest.get("dataset") != "synthetic_speech":
        problems = problems or [
            f"{root}: not what mmcert-prepare dataset=synthetic_speech writes. A folder that was "
            f"prepared from it is checked with dataset=ravdess."
        ]
        return problems, "nothing known"
    problems += changed_files(root, manifest)
    movies, sounds = (len(list(root.glob(f"Actor_*/*.{end}"))) for end in ("mp4", "wav"))
    return problems, f"{movies} movies and {sounds} sound files of synthetic actors"


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    numbers: list[Any] = list(size) if isinstance(size, (list, tuple)) else [size]
    low, high = _SIDES
    fits = len(numbers) == 2 and all(
        isinstance(n, int) and low <= n <= high and n % 2 == 0 for n in numbers
    )
    if not fits or numbers[1] < numbers[0]:
        raise ConfigError(
            f"size={numbers} must be [rows,columns], even numbers from {low} to {high} and no "
            f"fewer columns than rows, e.g. size=[240,320]."
        )
    return numbers[0], numbers[1]


def _versions() -> dict[str, str]:
    """The software that the bytes depend on."""
    av, cv2 = media_library("av"), media_library("cv2")
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    return {"av": av.__version__, "libavcodec": codec, "opencv": cv2.__version__}


def write_clip(folder: Path, clip: Clip, size: tuple[int, int], seed: int) -> None:
    """Perform one clip and write its two files, unless they are there."""
    movie, sound_file = folder / clip.movie, folder / clip.sound
    if movie.is_file() and sound_file.is_file():
        return
    # Here, so that the module can be imported without the extra.
    from mmcert.data.speech.talkingworld.face import pictures_of
    from mmcert.data.speech.talkingworld.performance import FRAME_RATE, SAMPLE_RATE, perform
    from mmcert.data.speech.talkingworld.voice import sound_of

    cv2 = media_library("cv2")
    cv2.setNumThreads(1)  # the clips are what is done in parallel
    performance = perform(clip, seed)
    sound = sound_of(performance)
    with whole_file(sound_file) as temporary:
        write_wav(temporary, sound, sample_rate=SAMPLE_RATE)
    with whole_file(movie) as temporary:
        write_movie(
            temporary,
            pictures_of(performance, size),
            sound,
            frame_rate=Fraction(*FRAME_RATE),
            sample_rate=SAMPLE_RATE,
        )

"""Raw downloads and synthetic worlds become the folder that a data set reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcert.errors import ConfigError, DataError, FullDiskError
from mmcert.jobs.seed import check_seed
from mmcert.quoting import command_line
from mmcert.records.lock import only_one

#: Problems that are printed one by one; the rest is counted.
SHOWN = 200


def prepare(config: dict[str, Any]) -> str:
    """Make or check the folder ``config["out"]``.

    Args:
        config: Plain configuration, the keys of ``conf/prepare.yaml``.

    Returns:
        What is there now, and what to do next.

    Raises:
        ConfigError: For a setting that makes no sense.
        DataError: For a source or folder with problems, naming all of them.
    """
    name, out = config["dataset"], Path(str(config["out"]))  # out=2024 comes as a number
    known = {
        "synthetic_roads": _synthetic_roads,
        "kitti_road": _kitti_road,
        "avmnist": _avmnist,
        "ravdess": _ravdess,
        "synthetic_speech": _synthetic_speech,
    }
    if name not in known:
        raise ConfigError(f"dataset={name} cannot be prepared; choose one of {', '.join(known)}.")
    workers = config["workers"]
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ConfigError(f"workers={workers} must be a positive number of processes, or null.")
    if not isinstance(config["check"], bool):
        raise ConfigError(f"check={config['check']} must be true or false.")
    check_seed(config["seed"])
    if config["check"]:
        return _check(config, out)
    beside = out.parent / f".{out.name}.lock"  # out itself must stay empty until it is whole
    try:
        with only_one(out, "mmcert-prepare", file=beside, remedy="out"):
            return known[name](config, out)
    except FullDiskError as error:
        raise FullDiskError(f"{error} What is finished stays in {out}.partial.") from error
    except OSError as error:
        raise DataError(
            f"{error.filename or out}: {error.strerror or error}. What is finished stays in "
            f"{out}.partial; see to the disk and its rights, and the same command goes on from "
            f"there."
        ) from error


def _check(config: dict[str, Any], out: Path) -> str:
    from mmcert.data.problems import counted, numbered

    if config["dataset"] == "avmnist":
        from mmcert.data.digits.check import check_avmnist

        problems, summary = check_avmnist(out)
    elif config["dataset"] == "ravdess":
        from mmcert.data.speech.check import check_speech

        problems, summary = check_speech(out, workers=config["workers"])
    elif config["dataset"] == "synthetic_speech":
        from mmcert.data.speech.synthetic_speech_writer import check_synthetic_speech

        problems, summary = check_synthetic_speech(out)
    else:
        from mmcert.data.roads.check import check_roads
        from mmcert.data.roads.kitti_road import ROAD_CLASSES, label_colours

        classes = config["classes"] or ROAD_CLASSES
        scale = config["depth_scale"]
        if not isinstance(scale, (int, float)) or not 0 < scale < float("inf"):
            raise ConfigError(f"depth_scale={scale} must be a number above 0.")
        problems, summary = check_roads(
            out,
            classes=tuple(classes),
            colours=label_colours(classes, "background"),
            depth_scale=scale,
            workers=config["workers"],
        )
    if problems:
        raise DataError(f"{out}: {counted(problems)} in {summary}:\n{numbered(problems, SHOWN)}")
    return f"{out}: {summary}. Every file was read and nothing is wrong."


def _synthetic_roads(config: dict[str, Any], out: Path) -> str:
    from mmcert.data.roads.synthetic_roads_writer import write_synthetic_roads

    size = config["size"] or (96, 320)
    sizes = write_synthetic_roads(
        out,
        scenes=config["scenes"],
        size=size,
        seed=config["seed"],
        validation=config["validation"],
        test=config["test"],
        workers=config["workers"],
    )
    rows, columns = size
    return (
        f"{out} holds {config['scenes']} synthetic road scenes of {rows}x{columns} pixels in the "
        f"KITTI Road format: {sizes['train']} for training, {sizes['val']} for validation, "
        f"{sizes['test']} for testing. Each has an image, a depth map (16-bit millimetres, 0 = "
        f"none), a road label and a calibration file; manifest.json has their checksums. Next:\n  "
        + command_line("train", "experiment=synthetic_roads_mmcert", data__root=out)
    )


def _kitti_road(config: dict[str, Any], out: Path) -> str:
    if config["source"] is None:
        raise ConfigError(
            "dataset=kitti_road needs source=, the folder that holds data_road and "
            "data_road_velodyne as unpacked from the official download "
            "(https://www.cvlibs.net/datasets/kitti/eval_road.php)."
        )
    from mmcert.data.roads.prepare_kitti import count_note, prepare_kitti
    from mmcert.data.workspace import read_manifest

    sizes = prepare_kitti(
        Path(str(config["source"])), out, seed=config["seed"], workers=config["workers"]
    )
    note = count_note((read_manifest(out) or {}).get("counts", {}))
    return (
        f"{out} holds KITTI Road with dense depth maps: {sizes['train']} frames for training, "
        f"{sizes['val']} for validation and {sizes['test']} that nothing may use before "
        f"certification. manifest.json has the split and the checksums. {note}\nNext:\n  "
        + command_line("train", "experiment=kitti_road_mmcert", data__root=out)
    )


def _avmnist(config: dict[str, Any], out: Path) -> str:
    raise ConfigError(
        f"avmnist needs no preparation: put MNIST's files and the folder recordings of the Free "
        f"Spoken Digit Dataset into {out}, then check them:\n  "
        + command_line("prepare", "dataset=avmnist", out=out, check=True)
    )


def _ravdess(config: dict[str, Any], out: Path) -> str:
    if config["source"] is None:
        raise ConfigError(
            "dataset=ravdess needs source=, a folder below which the archives of RAVDESS "
            "(https://zenodo.org/records/1188976) are unpacked, or what "
            "mmcert-prepare dataset=synthetic_speech wrote."
        )
    if not isinstance(config["strict"], bool):
        raise ConfigError(f"strict={config['strict']} must be true or false.")
    from mmcert.data.speech.prepare_ravdess import prepare_ravdess
    from mmcert.data.speech.prepared_notes import notes
    from mmcert.data.workspace import read_manifest

    source = Path(str(config["source"]))
    prepared = prepare_ravdess(
        source,
        out,
        modalities=config["modalities"],
        window=config["window"],
        crop=config["crop"],
        detector=config["detector"],
        allow_code=config["allow_code"],
        strict=config["strict"],
        workers=config["workers"],
    )
    drawn = (read_manifest(source) or {}).get("dataset") == "synthetic_speech"
    experiment = "ravdess_mmcert" if "video" in prepared["modalities"] else "ravdess_audio"
    experiment = "synthetic_speech_mmcert" if drawn else experiment
    return f"{out} holds {notes(prepared, SHOWN, official=not drawn)}\nNext:\n  " + command_line(
        "train", f"experiment={experiment}", data__root=out
    )


def _synthetic_speech(config: dict[str, Any], out: Path) -> str:
    from mmcert.data.speech.synthetic_speech_writer import write_synthetic_speech

    size = config["size"] or (240, 320)
    actors = write_synthetic_speech(
        out,
        clips=config["clips"],
        size=size,
        seed=config["seed"],
        workers=config["workers"],
    )
    rows, columns = size
    return (
        f"{out} holds {config['clips']} clips of {actors} synthetic actors with the names of "
        f"RAVDESS: each as an MP4 file of {rows}x{columns} pixels with sound and as a WAV file; "
        f"manifest.json has their checksums. Next:\n  "
        + command_line("prepare", "dataset=ravdess", source=out, out=f"{out}_prepared")
    )

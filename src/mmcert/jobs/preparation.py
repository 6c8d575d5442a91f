"""Raw downloads and synthetic worlds become the folder that a data set reads."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from mmcert.errors import ConfigError, DataError

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
    }
    if name not in known:
        raise ConfigError(f"dataset={name} cannot be prepared; choose one of {', '.join(known)}.")
    workers = config["workers"]
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ConfigError(f"workers={workers} must be a positive number of processes, or null.")
    if not isinstance(config["check"], bool):
        raise ConfigError(f"check={config['check']} must be true or false.")
    if not isinstance(config["seed"], int):
        raise ConfigError(f"seed={config['seed']} must be an integer.")
    if config["check"]:
        return _check(config, out)
    try:
        return known[name](config, out)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written ({error}). What is finished stays in {out}.partial; the "
            f"same command goes on from there."
        ) from error


def _check(config: dict[str, Any], out: Path) -> str:
    from mmcert.data.problems import counted, numbered

    if config["dataset"] == "avmnist":
        from mmcert.data.digits.check import check_avmnist

        problems, summary = check_avmnist(out)
    elif config["dataset"] == "ravdess":
        from mmcert.data.speech.check import check_speech

        problems, summary = check_speech(out, workers=config["workers"])
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

    sizes = write_synthetic_roads(
        out,
        scenes=config["scenes"],
        size=config["size"],
        seed=config["seed"],
        validation=config["validation"],
        test=config["test"],
        workers=config["workers"],
    )
    rows, columns = config["size"]
    return (
        f"{out} holds {config['scenes']} synthetic road scenes of {rows}x{columns} pixels in the "
        f"KITTI Road format: {sizes['train']} for training, {sizes['val']} for validation, "
        f"{sizes['test']} for testing. Each has an image, a depth map (16-bit millimetres, 0 = "
        f"none), a road label and a calibration file; manifest.json has their checksums. Next:\n"
        f"  mmcert-train experiment=synthetic_roads_mmcert data.root={shlex.quote(str(out))}"
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
        f"certification. manifest.json has the split and the checksums. {note}\nNext:\n"
        f"  mmcert-train experiment=kitti_road_mmcert data.root={shlex.quote(str(out))}"
    )


def _avmnist(config: dict[str, Any], out: Path) -> str:
    raise ConfigError(
        f"avmnist needs no preparation: put MNIST's files and the folder recordings of the Free "
        f"Spoken Digit Dataset into {out}, then check them with "
        f"mmcert-prepare dataset=avmnist out={shlex.quote(str(out))} check=true"
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
    return (
        f"{out} holds {notes(prepared, SHOWN, official=not drawn)}\nNext:\n  mmcert-train "
        f"experiment={'synthetic_speech_mmcert' if drawn else experiment} "
        f"data.root={shlex.quote(str(out))}"
    )

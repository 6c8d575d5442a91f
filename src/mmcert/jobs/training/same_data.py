"""Whether a folder holds the samples of a training that began elsewhere, or earlier."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcert.data.datamodule import DataModule
from mmcert.data.splits import seeded_order
from mmcert.data.workspace import read_manifest
from mmcert.errors import RecordError
from mmcert.quoting import command_line

#: Samples of each split whose content is compared, chosen by the seed. All of them would make a
#: large data set wait before its first step.
COMPARED = 32


def data_checksums(data: DataModule) -> dict[str, str]:
    """Checksums of what a training learns from and is judged by, wherever it lies.

    Args:
        data: The data of a training.

    Returns:
        ``samples``: SHA-256 of inputs and targets of up to :data:`COMPARED` samples of ``train``
        and of ``val`` each; ``files``: that of the checksums of all files, where the folder has a
        manifest with them.
    """
    digest = hashlib.sha256()
    for split in ("train", "val"):
        dataset = data.dataset(split)
        index = {name: number for number, name in enumerate(dataset.ids)}
        for name in seeded_order(dataset.ids, data.seed, "compared")[:COMPARED]:
            item = dataset[index[name]]
            digest.update(f"{split}/{name}".encode())
            for key, tensor in sorted({**item["inputs"], "target": item["target"]}.items()):
                if tensor is not None:
                    digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
                    digest.update(tensor.contiguous().numpy().tobytes())
    found = {"samples": digest.hexdigest()}
    manifest = read_manifest(Path(data.config["root"])) or {}
    if manifest.get("files"):
        listed = json.dumps(manifest["files"], sort_keys=True)
        found["files"] = hashlib.sha256(listed.encode()).hexdigest()
    return found


def check_same_data(data: DataModule, record: Mapping[str, Any], run_dir: Path) -> None:
    """Refuse to go on with a training on other samples.

    Args:
        data: Made with the split of the checkpoint.
        record: What the checkpoint carries beside the weights.
        run_dir: Of the training.

    Raises:
        RecordError: Where ids or checksums are not those of the training.
    """
    root, before = data.config["root"], record["config"]["data"]["root"]
    if not data.dataset("train").split_is_stored:
        what = "has other sample ids"
    else:
        stored, now = record.get("data_sha256") or {}, data_checksums(data)
        if all(stored[key] == now[key] for key in stored.keys() & now.keys()):
            return
        what = "has samples of the same names with other content"
    raise RecordError(
        f"data.root={root} {what} than the training in {run_dir} began with (in {before}). For a "
        f"training on these samples choose another run_dir; if its data lie elsewhere now, go on "
        f"with their folder as data.root:\n  "
        + command_line("train", run_dir=run_dir, data__root=before)
    )

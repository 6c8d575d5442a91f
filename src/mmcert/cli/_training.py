"""One training, from a plain configuration to checkpoints."""

from __future__ import annotations

import copy
import math
import shlex
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from rich.console import Console
from torch.utils.data import RandomSampler

from mmcert.cli._checkpoint import SCHEMA, read_plain, refuse_code
from mmcert.cli._trainer import build_callbacks, build_logger, build_trainer
from mmcert.cli._training_plan import check_plan, count_elements, plan_encoding
from mmcert.data.datamodule import DataModule
from mmcert.data.splits import seeded_hash
from mmcert.errors import ConfigError, RecordError
from mmcert.models.registry import build_model
from mmcert.records.atomic import atomic_write, write_json
from mmcert.tasks.registry import build_task
from mmcert.theory.schemes import make_scheme

#: Sections that a checkpoint carries: the base model, its data, and the plan of certification.
CARRIED = (
    "data",
    "model",
    "task",
    "encoding",
    "scheme",
    "threat",
    "statistics",
    "voting",
    "trainer",
    "alpha",
    "seed",
)
#: Keys of the trainer section that may differ when an interrupted training goes on.
MAY_DIFFER = ("trainer.threads", "trainer.log_every_n_steps")


class Loaders(pl.LightningDataModule):
    """Makes the loaders in the process that uses them: a generator cannot be sent to a spawned one.

    The order of an epoch is a function of the seed and its number, so that a training that was
    interrupted goes on as if it had not been.

    Args:
        data: The data of the training.
        first: Number of the epoch that this process begins with.
    """

    def __init__(self, data: DataModule, first: int) -> None:
        super().__init__()
        self._data, self._first = data, first
        self._generator: torch.Generator | None = None

    def train_dataloader(self) -> Any:
        """Shuffled batches of the training split."""
        loader = self._data.loader("train")
        # One of its own: from the loader's, seeds of workers are drawn too, but only at a start.
        self._generator = torch.Generator()
        assert isinstance(loader.sampler, RandomSampler)
        loader.sampler.generator = self._generator
        self.order(self._first)  # Lightning counts on only after it has asked for batches
        return loader

    def order(self, epoch: int) -> None:
        """Fix the order of that epoch, before its first batch is fetched."""
        if self._generator is not None:
            self._generator.manual_seed(seeded_hash(self._data.seed, "order", epoch) >> 1)

    def val_dataloader(self) -> Any:
        """Batches of the validation split in order."""
        return self._data.loader("val", shuffle=False)


class EpochSeeds(pl.Callback):
    """Makes all chance of an epoch a function of the seed, the epoch and the process.

    Masks are drawn by counter anyway; this is for retained counts, augmentations and dropout.

    Args:
        loaders: Whose order is fixed too.
        seed: Seed of the training.
    """

    def __init__(self, loaders: Loaders, seed: int) -> None:
        self._loaders, self._seed = loaders, seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the generators of this process anew."""
        part = seeded_hash(self._seed, "epoch", trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(part >> 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The next epoch's iterator is made before it starts."""
        self._loaders.order(trainer.current_epoch + 1)


def train(given: Mapping[str, Any], run_dir: Path, *, multirun: bool = False) -> float:
    """Train a base model; go on where an earlier run in ``run_dir`` stopped.

    Args:
        given: The resolved ``train`` configuration.
        run_dir: Gets ``checkpoints/{best,last}.ckpt``, ``config.yaml`` and ``split.json``.
        multirun: Whether this is a job of a Hydra sweep.

    Returns:
        The best validation score.

    Raises:
        ConfigError: For settings that make no sense, before anything is trained.
        UnsoundError: For an encoding that gives no certificate against the threat.
        DataError: For missing or broken data.
        RecordError: Where ``run_dir`` holds another training.
    """
    began = time.monotonic()
    console = Console()
    config: dict[str, Any] = copy.deepcopy(dict(given))
    refuse_code(config, "the configuration")
    config["data"]["root"] = str(Path(config["data"]["root"]).resolve())
    allow_code = tuple(config.get("allow_code") or ())
    data = DataModule(config["data"], config["seed"], allow_code=allow_code)
    dataset = data.dataset("train")
    check_plan(config, dataset)
    config["encoding"] = plan_encoding(config, data)
    earlier, done = resumable(config, run_dir)
    pl.seed_everything(config["seed"], verbose=False)

    net = build_model(
        config["model"]["name"],
        inputs=dataset.inputs,
        classes=len(dataset.classes),
        encoding=config["encoding"],
        allow_code=allow_code,
        stored_weights=earlier is not None,
        **(config["model"].get("options") or {}),
    )
    record = checkpoint_record(config, data)
    task = build_task(
        config["task"]["name"],
        net,
        options={key: value for key, value in config["task"].items() if key != "name"},
        scheme_for=partial(
            make_scheme,
            config["scheme"]["name"],
            k=config["scheme"].get("k"),
            ratio=config["scheme"].get("ratio"),
        ),
        count_elements=partial(count_elements, dict(dataset.inputs)),
        classes=len(dataset.classes),
        seed=config["seed"],
        record=record,
    )
    logger = build_logger(config.get("logger"), run_dir, record["config"])
    callbacks = build_callbacks(
        config.get("callbacks") or {}, run_dir, monitor=task.monitor, logging=logger is not None
    )
    loaders = Loaders(data, done)
    callbacks.append(EpochSeeds(loaders, config["seed"]))
    trainer = build_trainer(
        config["trainer"], run_dir, callbacks=callbacks, logger=logger, multirun=multirun
    )
    if trainer.is_global_zero:
        with atomic_write(run_dir / "config.yaml") as stream:
            stream.write(yaml.safe_dump(config, sort_keys=False).encode())
        write_json(run_dir / "split.json", record["split"])
        console.print(
            preview(config, net, len(data.loader("train")), len(dataset)),
            highlight=False,
            soft_wrap=True,
        )
    try:
        trainer.fit(task, datamodule=loaders, ckpt_path=None if earlier is None else str(earlier))
    except SystemExit:
        if trainer.interrupted:  # Lightning turns an interruption into an exit; run_app explains it
            raise KeyboardInterrupt from None
        raise
    score = best_score(run_dir, task.monitor)
    if trainer.is_global_zero:
        console.print(
            summary(config, run_dir, task.monitor, score, time.monotonic() - began),
            highlight=False,
            soft_wrap=True,
        )
    return score


def stored_config(run_dir: Path) -> dict[str, Any] | None:
    """The configuration of the training that ``run_dir`` holds, or None.

    Raises:
        RecordError: Where the file is no configuration.
        ConfigError: Where it holds an interpolation or a ``_target_``.
    """
    file = run_dir / "config.yaml"
    if not file.is_file():
        return None
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecordError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("command") != "train":
        raise RecordError(f"{file} is no configuration of mmcert-train; choose another run_dir.")
    refuse_code(config, str(file))
    return config


def resumable(config: Mapping[str, Any], run_dir: Path) -> tuple[Path | None, int]:
    """The ``last.ckpt`` to go on with and the epochs that it has seen; None and 0 for a new one.

    Raises:
        RecordError: Where ``run_dir`` holds a finished or another training.
    """
    last = run_dir / "checkpoints" / "last.ckpt"
    if not last.is_file():
        return None, 0
    content = read_plain(last)
    record = content.get("mmcert") or {}
    if record.get("schema") != SCHEMA:
        raise RecordError(f"{last} is no checkpoint of this version; choose another run_dir.")
    before = _flat({key: record["config"].get(key) for key in CARRIED})
    now = _flat({key: config.get(key) for key in CARRIED})
    different = [
        key
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in MAY_DIFFER
    ]
    if different:
        key = different[0]
        raise RecordError(
            f"{run_dir} holds a training with {key}={before.get(key)}, not {now.get(key)}"
            f"{f' (and {len(different) - 1} more differences)' if len(different) > 1 else ''}. To "
            f"go on with it: mmcert-train run_dir={shlex.quote(str(run_dir))}; for another "
            f"training choose another run_dir."
        )
    epochs, steps = config["trainer"].get("max_epochs"), config["trainer"].get("max_steps", -1)
    done_epochs, done_steps = content["epoch"] + 1, content["global_step"]
    if (epochs not in (None, -1) and done_epochs >= epochs) or 0 < (steps or -1) <= done_steps:
        raise RecordError(
            f"the training in {run_dir} is finished ({done_epochs} epochs, {done_steps} steps). "
            f"Certify it: mmcert-certify checkpoint={shlex.quote(str(run_dir))}; for another "
            f"training choose another run_dir."
        )
    return last, done_epochs


def checkpoint_record(
    config: Mapping[str, Any], data: DataModule, split: str = "train"
) -> dict[str, Any]:
    """What every checkpoint carries beside the weights: plain data, nothing to run."""
    from mmcert.records.run import package_versions

    dataset = data.dataset(split)
    carried = {key: copy.deepcopy(config.get(key)) for key in CARRIED}
    carried["inputs"] = {
        name: {
            "shape": list(spec.shape),
            "element_axes": list(spec.element_axes),
            "element": spec.element,
        }
        for name, spec in dataset.inputs.items()
    }
    carried["classes"] = list(dataset.classes)
    return {
        "schema": SCHEMA,
        "task": config["task"]["name"],
        "config": carried,
        "split": data.split(),
        "versions": package_versions(),
    }


def best_score(run_dir: Path, monitor: str) -> float:
    """The validation score of ``best.ckpt``.

    Raises:
        ConfigError: Where training ended without a validation.
    """
    file = run_dir / "checkpoints" / "best.ckpt"
    if not file.is_file():
        raise ConfigError(
            "training ended without a validation, so there is no best checkpoint; set "
            "trainer.check_val_every_n_epoch to at most trainer.max_epochs."
        )
    for state in read_plain(file).get("callbacks", {}).values():
        if state.get("monitor") == monitor and state.get("current_score") is not None:
            return float(state["current_score"])
    return math.nan  # chosen by another score, see callbacks.checkpoints.monitor


def preview(config: Mapping[str, Any], net: Any, batches: int, samples: int) -> str:
    """What the training is going to do, in one line."""
    parameters = sum(parameter.numel() for parameter in net.parameters())
    section = config["trainer"]
    epochs = section.get("max_epochs")
    limit = section.get("limit_train_batches")
    per_epoch = min(batches, limit) if isinstance(limit, int) else batches
    amount = (
        f"{epochs} epochs x {per_epoch} batches of {config['data']['batch_size']}"
        if epochs not in (None, -1)
        else f"{section.get('max_steps')} steps of {config['data']['batch_size']}"
    )
    return (
        f"Training {config['model']['name']} ({parameters / 1e6:.2f} M parameters) on {samples} "
        f"samples of {config['data']['name']}: {amount} x {config['task'].get('ablations', 1)} "
        f"sub-samples, scheme {config['scheme']['name']} "
        f"{config['scheme'].get('k') or config['scheme'].get('ratio')}."
    )


def summary(
    config: Mapping[str, Any], run_dir: Path, monitor: str, score: float, seconds: float
) -> str:
    """One paragraph: what came out, where it is, what to run next."""
    name = monitor.removeprefix("val/").replace("_", "-")
    kept = config["scheme"].get("k") or config["scheme"].get("ratio")
    return (
        f"Single sub-samples of the validation split reach {name} {score:.4f} at exactly the "
        f"retained elements of certification ({kept}), after {seconds:.0f} s; an ensemble of them "
        f"does better. Weights, configuration and split are in {run_dir}. Next:\n"
        f"  mmcert-certify checkpoint={shlex.quote(str(run_dir))}"
    )


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Leaves by dotted key; lists are leaves."""
    if not isinstance(value, Mapping):
        return {key: list(value) if isinstance(value, tuple) else value}
    if not value:
        return {key: {}}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{key}.{name}" if key else str(name))
    return flat

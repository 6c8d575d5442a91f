"""One training, from a plain configuration to checkpoints."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from rich.console import Console

from mmcert.data.datamodule import DataModule
from mmcert.jobs.checkpoint import refuse_code
from mmcert.jobs.training.loaders import EpochSeeds, Loaders
from mmcert.jobs.training.plan import check_plan, count_elements, plan_encoding
from mmcert.jobs.training.record import best_score, checkpoint_record
from mmcert.jobs.training.resume import resumable
from mmcert.jobs.training.trainer import build_callbacks, build_logger, build_trainer
from mmcert.jobs.training.wording import preview, summary
from mmcert.models.registry import build_model
from mmcert.records.atomic import atomic_write, write_json
from mmcert.tasks.registry import build_task
from mmcert.theory.schemes import make_scheme


def train(
    given: Mapping[str, Any],
    run_dir: str | Path,
    *,
    console: Console | None = None,
    multirun: bool = False,
) -> float:
    """Train a base model; go on where an earlier run in ``run_dir`` stopped.

    Args:
        given: The resolved ``train`` configuration.
        run_dir: Gets ``checkpoints/{best,last}.ckpt``, ``config.yaml`` and ``split.json``.
        console: Where a person reads; None: nowhere.
        multirun: Whether other jobs run before or after it in this process, as in a sweep.

    Returns:
        The best validation score.

    Raises:
        ConfigError: For settings that make no sense, before anything is trained.
        UnsoundError: For an encoding that gives no certificate against the threat.
        DataError: For missing or broken data.
        RecordError: Where ``run_dir`` holds another training.
    """
    began = time.monotonic()
    run_dir = Path(run_dir).resolve()
    console = console or Console(quiet=True)
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

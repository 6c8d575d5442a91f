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
from mmcert.jobs.alone import alone_with_ranks
from mmcert.jobs.checkpoint import refuse_code
from mmcert.jobs.elsewhere import as_here
from mmcert.jobs.seed import check_seed
from mmcert.jobs.training.best import objective
from mmcert.jobs.training.epoch_lines import Manner, manner, shown_as
from mmcert.jobs.training.loaders import EpochSeeds, Loaders
from mmcert.jobs.training.measurable import check_measurable
from mmcert.jobs.training.plan import check_plan, count_elements, plan_encoding
from mmcert.jobs.training.ranks import process_group, run_ranks
from mmcert.jobs.training.record import best_score, checkpoint_record
from mmcert.jobs.training.resume import (
    Earlier,
    check_same_training,
    earlier_training,
    stored_means,
)
from mmcert.jobs.training.same_data import check_same_data, data_checksums
from mmcert.jobs.training.trainer import build_callbacks, build_logger, build_trainer
from mmcert.jobs.training.wording import finished, preview, summary
from mmcert.models.registry import build_model
from mmcert.records.atomic import atomic_write, write_json
from mmcert.saying import say
from mmcert.tasks.registry import TASKS, build_task
from mmcert.theory.schemes import make_scheme
from mmcert.voting.peers import Peers
from mmcert.voting.spawn import Report


@alone_with_ranks
def train(
    given: Mapping[str, Any],
    run_dir: str | Path,
    *,
    console: Console | None = None,
) -> float:
    """Train a base model; go on where an earlier run in ``run_dir`` stopped.

    A training that is finished there with the same settings is left as it is.

    Args:
        given: The resolved ``train`` configuration.
        run_dir: Gets ``checkpoints/{best,last}.ckpt``, ``config.yaml`` and ``split.json``.
        console: Where a person reads; None: nowhere.

    Returns:
        The best validation score.

    Raises:
        ConfigError: For settings that make no sense, before anything is trained.
        UnsoundError: For an encoding that gives no certificate against the threat.
        DataError: For missing or broken data.
        RecordError: Where ``run_dir`` holds another training.
    """
    run_dir = Path(run_dir).resolve()
    shown = console or Console(quiet=True)
    config: dict[str, Any] = copy.deepcopy(dict(given))
    refuse_code(config, "the configuration")
    check_seed(config["seed"])
    config["data"]["root"] = str(Path(config["data"]["root"]).resolve())
    allow_code = tuple(config.get("allow_code") or ())
    earlier = earlier_training(run_dir)
    if earlier is not None:
        config["encoding"] = stored_means(config["encoding"], earlier)
        check_same_training(config, earlier, run_dir)
        if earlier.is_finished(config):
            return _finished(config, run_dir, earlier, shown)
    data = DataModule(
        config["data"],
        config["seed"],
        stored_split=None if earlier is None else earlier.record["split"],
        allow_code=allow_code,
    )
    dataset = data.dataset("train")
    check_plan(config, dataset)
    check_measurable(config, data, TASKS[config["task"]["name"]].monitor)
    if earlier is not None:
        check_same_data(data, earlier.record, run_dir)
    config["encoding"] = plan_encoding(config, data)
    work = partial(_fit, config, run_dir, data, earlier, manner(shown))
    return run_ranks(
        work,
        config["trainer"],
        run_dir,
        lambda event: say(shown, event[1]["text"]),
    )


def _fit(
    config: dict[str, Any],
    run_dir: Path,
    data: DataModule,
    earlier: Earlier | None,
    progress: Manner,
    peers: Peers,
    report: Report,
) -> float:
    """The training as one of its processes does it; the best validation score."""
    began = time.monotonic()
    dataset = data.dataset("train")
    allow_code = tuple(config.get("allow_code") or ())
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
    record["data_sha256"] = data_checksums(data)
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
    loaders = Loaders(data, 0 if earlier is None else earlier.epochs)
    callbacks = [*shown_as(progress, callbacks, report), EpochSeeds(loaders, config["seed"])]
    trainer = build_trainer(
        config["trainer"], run_dir, callbacks=callbacks, logger=logger, place=peers.place
    )
    if peers.rank == 0:
        with atomic_write(run_dir / "config.yaml") as stream:
            stream.write(yaml.safe_dump(config, sort_keys=False).encode())
        write_json(run_dir / "split.json", record["split"])
        text = preview(config, net, len(data.loader("train")), len(dataset))
        report(("say", {"text": text}))
    try:
        with process_group(peers, config["trainer"]):
            trainer.fit(
                task, datamodule=loaders, ckpt_path=None if earlier is None else str(earlier.last)
            )
            peers.wait()  # for the last checkpoint
    except SystemExit:
        if trainer.interrupted:  # Lightning turns an interruption into an exit; run_app explains it
            raise KeyboardInterrupt from None
        raise
    except Exception as error:
        raise as_here(error) or error from None
    judged_by = _judged_by(config)
    score = best_score(run_dir, judged_by)
    if peers.rank == 0:
        text = summary(config, run_dir, judged_by, score, time.monotonic() - began)
        report(("say", {"text": text}))
    return score


def _finished(
    config: Mapping[str, Any], run_dir: Path, earlier: Earlier, console: Console
) -> float:
    """Say that nothing is left to do; the score of the training."""
    judged_by = _judged_by(config)
    score = best_score(run_dir, judged_by)
    say(console, finished(run_dir, judged_by, score, earlier.epochs, earlier.steps))
    return score


def _judged_by(config: Mapping[str, Any]) -> str:
    """The validation score that the training is judged by."""
    chosen = (config.get("callbacks") or {}).get("checkpoints")
    return objective(chosen, TASKS[config["task"]["name"]].monitor)

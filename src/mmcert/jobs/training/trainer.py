"""Lightning's Trainer, callbacks and loggers from plain configuration, by name."""

from __future__ import annotations

import inspect
import itertools
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks as pl_callbacks
from pytorch_lightning import loggers as pl_loggers

from mmcert.errors import ConfigError
from mmcert.jobs.training.best import BestCheckpoint, objective
from mmcert.jobs.training.checkpoint_io import WholeCheckpoints
from mmcert.reporting.tracking import check_account
from mmcert.voting.environment import RankEnvironment
from mmcert.voting.processes import device_index
from mmcert.voting.started import Place

#: Keys of the ``trainer`` section that are ours; all others are arguments of Lightning's Trainer.
_OWN = ("threads", "rendezvous_minutes")


class OwnSignals(pl.Callback):
    """Gives signals back to whom they belonged before the training.

    Lightning's handler of SIGTERM broadcasts to all processes, and waits for ever where one of them
    is gone; and a training that ends only with its batch outlives the time that a cluster allows.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning has just set its own."""
        if threading.current_thread() is threading.main_thread() and self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)


def strategy_for(name: str, world: int) -> str:
    """The Lightning strategy of processes that are there already, whatever would have started them.

    Args:
        name: ``trainer.strategy``.
        world: How many processes.

    >>> strategy_for("auto", 2), strategy_for("ddp_spawn", 2), strategy_for("ddp", 1)
    ('ddp', 'ddp', 'auto')
    """
    started = name.removesuffix("_spawn").removesuffix("_fork").removesuffix("_notebook")
    if world == 1 and started.startswith("ddp"):
        return "auto"
    return "ddp" if started == "auto" and world > 1 else started


def device_count(trainer: Mapping[str, Any]) -> int:
    """Processes on this machine that a ``trainer`` section asks for.

    Raises:
        ConfigError: Where ``devices`` is no positive number, or no GPU is there that is asked for.
    """
    devices = trainer.get("devices", 1)
    wanted = trainer.get("accelerator")
    apple = wanted == "gpu" and torch.backends.mps.is_available()
    if wanted in ("gpu", "cuda") and not (torch.cuda.is_available() or apple):
        raise ConfigError(
            f"trainer.accelerator={wanted}: PyTorch {torch.__version__} finds no GPU "
            f"here (see nvidia-smi, and CUDA_VISIBLE_DEVICES); use trainer.accelerator=cpu "
            f"(trainer=default), or install a PyTorch build for this machine's driver."
        )
    if devices == "auto":
        gpus = torch.cuda.device_count() if wanted in ("auto", "gpu", "cuda") else 0
        return max(gpus, 1)
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise ConfigError(f"trainer.devices={devices!r} must be a positive number, or auto.")
    return devices


def uses_cuda(trainer: Mapping[str, Any]) -> bool:
    """Whether a ``trainer`` section means GPUs of NVIDIA."""
    return trainer.get("accelerator") in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def build_trainer(
    section: Mapping[str, Any],
    run_dir: Path,
    *,
    callbacks: list[pl.Callback],
    logger: pl_loggers.Logger | None,
    place: Place,
) -> pl.Trainer:
    """Lightning's Trainer for a ``trainer`` section.

    Args:
        section: ``threads`` and arguments of Lightning's Trainer, plain values.
        run_dir: Where it writes.
        callbacks: See :func:`build_callbacks`.
        logger: See :func:`build_logger`.
        place: Of this process among those of the training.

    Raises:
        ConfigError: For an unknown key, or a combination that cannot run.
    """
    known = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    unknown = sorted(set(section) - known - set(_OWN))
    if unknown:
        raise ConfigError(
            f"trainer.{unknown[0]} is neither {' nor '.join(_OWN)} nor an argument of Lightning."
        )
    threads = section.get("threads")
    if threads is not None:
        torch.set_num_threads(int(threads))
    # Lightning's notes are about itself; errors and warnings of ours come through.
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning\.")
    options = {key: value for key, value in section.items() if key not in _OWN}
    # To Lightning every process is a node with one device, see RankEnvironment.
    options |= {
        "devices": [device_index(place)] if uses_cuda(section) else 1,
        "num_nodes": place.world,
        "strategy": strategy_for(str(section.get("strategy", "auto")), place.world),
        "plugins": [RankEnvironment(place), WholeCheckpoints()],
    }
    try:
        return pl.Trainer(
            **options,
            logger=logger if logger is not None else False,
            callbacks=[*callbacks, OwnSignals()],
            default_root_dir=run_dir,
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(c, pl_callbacks.ProgressBar) for c in callbacks),
            num_sanity_val_steps=0,
        )
    except (ValueError, TypeError, pl.utilities.exceptions.MisconfigurationException) as error:
        raise ConfigError(f"the trainer section cannot be used: {error}") from error


def _checkpoints(run_dir: Path, monitor: str, options: dict[str, Any]) -> list[pl.Callback]:
    """``best.ckpt`` by the validation score, and ``last.ckpt`` after every epoch."""
    best = {"monitor": monitor, "mode": "max"} | options
    common: dict[str, Any] = {
        "dirpath": run_dir / "checkpoints",
        "save_top_k": 1,
        "enable_version_counter": False,
        "auto_insert_metric_name": False,
    }
    return [
        BestCheckpoint(objective(options, monitor), filename="best", **common, **best),
        pl_callbacks.ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **common),
    ]


def _early_stopping(run_dir: Path, monitor: str, options: dict[str, Any]) -> list[pl.Callback]:
    # A validation that measured nothing is one without a better score, not a reason to end well.
    chosen: dict[str, Any] = {"monitor": monitor, "mode": "max", "check_finite": False} | options
    return [pl_callbacks.EarlyStopping(**chosen)]


def _progress(run_dir: Path, monitor: str, options: dict[str, Any]) -> list[pl.Callback]:
    return [pl_callbacks.RichProgressBar(**options)]


def _learning_rate(run_dir: Path, monitor: str, options: dict[str, Any]) -> list[pl.Callback]:
    return [pl_callbacks.LearningRateMonitor(**options)]


def _ema(run_dir: Path, monitor: str, options: dict[str, Any]) -> list[pl.Callback]:
    """Exponential moving average of the weights: what is validated, kept as best and certified."""
    try:
        from mmcert.jobs.training.moving_average import MovingAverage
    except ImportError:
        raise ConfigError(
            f"callbacks.ema needs pytorch-lightning 2.6 or newer, this is {pl.__version__}; "
            f"upgrade it, or set callbacks.ema=null."
        ) from None
    return [MovingAverage(**options)]


CALLBACKS: dict[str, Callable[[Path, str, dict[str, Any]], list[pl.Callback]]] = {
    "checkpoints": _checkpoints,
    "early_stopping": _early_stopping,
    "ema": _ema,
    "learning_rate": _learning_rate,
    "progress": _progress,
}


def build_callbacks(
    section: Mapping[str, Any], run_dir: Path, *, monitor: str, logging: bool
) -> list[pl.Callback]:
    """The callbacks of a ``callbacks`` section: name -> options, null leaves one out.

    Args:
        section: Named entries, see :data:`CALLBACKS`.
        run_dir: Where checkpoints go.
        monitor: The validation score of the task.
        logging: Whether there is a logger (the learning rate needs one).

    Raises:
        ConfigError: For an unknown name or option.
    """
    built: list[pl.Callback] = []
    for name, options in section.items():
        if options is None or (name == "learning_rate" and not logging):
            continue
        if name not in CALLBACKS:
            raise ConfigError(f"callbacks.{name} is unknown; there are {', '.join(CALLBACKS)}.")
        try:
            built += CALLBACKS[name](run_dir, monitor, dict(options))
        except TypeError as error:
            raise ConfigError(
                f"callbacks.{name} has an option that it does not know: {error}"
            ) from None
    return built


def build_logger(
    section: Mapping[str, Any] | None, run_dir: Path, config: Mapping[str, Any]
) -> pl_loggers.Logger | None:
    """The logger of a ``logger`` section: csv, wandb or none.

    Args:
        section: ``{"name": ..., ...}``.
        run_dir: Where it writes.
        config: The resolved configuration, logged with a W&B run.

    Raises:
        ConfigError: For an unknown name or W&B mode.
    """
    options = dict(section or {"name": "none"})
    name = options.pop("name")
    if name == "none":
        return None
    if name == "csv":
        # Lightning empties a folder of logs that it finds; each part of a training gets its own.
        folders = ("logs" if part == 1 else f"logs_{part}" for part in itertools.count(1))
        version = next(folder for folder in folders if not (run_dir / folder).exists())
        return pl_loggers.CSVLogger(save_dir=run_dir, name="", version=version, **options)
    if name == "wandb":
        mode = options.pop("mode", "offline")
        check_account(mode)
        return pl_loggers.WandbLogger(
            save_dir=run_dir, offline=mode == "offline", config=dict(config), **options
        )
    raise ConfigError(f"logger.name={name} is none of csv, wandb, none.")

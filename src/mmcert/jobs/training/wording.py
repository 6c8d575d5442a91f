"""What a training says before it begins and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcert.quoting import command_line


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


def finished(run_dir: Path, monitor: str, score: float, epochs: int, steps: int) -> str:
    """One paragraph: that nothing is left to do, and what to run next."""
    return (
        f"The training in {run_dir} is finished: {epochs} epochs, {steps} steps, "
        f"{_score_name(monitor)} {score:.4f}. Nothing was changed. Next:\n  "
        + command_line("certify", checkpoint=run_dir)
    )


def summary(
    config: Mapping[str, Any], run_dir: Path, monitor: str, score: float, seconds: float
) -> str:
    """One paragraph: what came out, where it is, what to run next."""
    name = _score_name(monitor)
    kept = config["scheme"].get("k") or config["scheme"].get("ratio")
    return (
        f"Single sub-samples of the validation split reach {name} {score:.4f} at exactly the "
        f"retained elements of certification ({kept}), after {seconds:.0f} s; an ensemble of them "
        f"does better. Weights, configuration and split are in {run_dir}. Next:\n  "
        + command_line("certify", checkpoint=run_dir)
    )


def _score_name(monitor: str) -> str:
    return monitor.removeprefix("val/").replace("_", "-")

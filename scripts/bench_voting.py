"""Measure voting beside the bare forward pass: ``python scripts/bench_voting.py [--json]``.

Each case runs in a process of its own (its peak memory is then its own). Runs of voting and runs of
the bare forward pass on the same block alternate, so that a slow moment of the machine hits both;
rates are medians, and the efficiency is the median over neighbouring runs. The same ratio of
processor time, all threads together, depends on nobody else on the machine: what draws and reads
ahead counts there, though a second core would hide it. Voting is everything:
drawing, encoding, labels, checks, counts. Bare is what is left if all of that were free: the
network of RoadSeg on streams of its input size, the compact net on the masks, the head on the
subsets.

Further measurements, each instead of the cases' speed:

    --processes 2   draws per second of that many processes and of one
    --blocks        share of the votes that another block changes by rounding
    --samples 10000 time to the first vote of a large data set, and how memory grows

Weights are random: speed does not depend on them. Exit code 1 where a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from mmcert.models.base import BaseModel
from mmcert.models.elementwise_fusion import ElementwiseFusion
from mmcert.models.rgbd_fusion import RGBDFusion
from mmcert.models.roadseg import RoadSeg
from mmcert.records.votes import VotesMeta, write_meta
from mmcert.theory.modality import InputSpec
from mmcert.voting.ballot import Ballot, draws_of_all, make_voter
from mmcert.voting.plan import Segment, Unit
from mmcert.voting.processes import numerics
from mmcert.voting.run import vote
from mmcert.voting.settings import SchemeSpec, VotingSettings

IMAGE_AXES = (1, 2)


@dataclass(frozen=True)
class Case:
    """What votes on what.

    Attributes:
        model: ``roadseg``, ``rgbd_fusion`` or ``elementwise_fusion``.
        size: Native height and width in pixels.
        k: Retained elements per modality.
        precision: As Lightning names it.
        blocks: Blocks in one timed run.
        pairs: Timed runs of voting, and as many of the bare forward pass.
        efficiency: Claimed least share of the bare rate.
        rate: Claimed least draws per second.
    """

    model: str
    size: tuple[int, int]
    k: Mapping[str, int]
    precision: str
    blocks: int
    pairs: int
    efficiency: float
    rate: float | None = None


_KITTI = {"rgb": 8988, "depth": 996}
CASES = {
    "roadseg18_float32": Case("roadseg", (375, 1242), _KITTI, "32-true", 1, 7, 0.97),
    "roadseg18_bf16": Case("roadseg", (375, 1242), _KITTI, "bf16-mixed", 1, 7, 0.97),
    "compact_float32": Case(
        "rgbd_fusion", (96, 320), {"rgb": 592, "depth": 65}, "32-true", 4, 25, 0.97
    ),
    "digits_float32": Case(
        "elementwise_fusion", (28, 28), {"image": 60, "audio": 5}, "32-true", 10, 50, 0.95, 50e3
    ),
}


class Samples:
    """Random samples of the shape of a case, made when they are asked for."""

    classes: tuple[str, ...]

    def __init__(self, case: Case, count: int) -> None:
        height, width = case.size
        self.ids = tuple(f"s{i:05d}" for i in range(count))
        if case.model == "elementwise_fusion":
            self.shapes = {"image": (1, height, width), "audio": (50, 160)}
            self.inputs = {
                "image": InputSpec((1, height, width), IMAGE_AXES, "pixel"),
                "audio": InputSpec((50, 160), (0,), "chunk of 160 samples"),
            }
            self.classes = tuple("0123456789")
        else:
            self.shapes = {"rgb": (3, height, width), "depth": (1, height, width)}
            self.inputs = {
                "rgb": InputSpec((3, None, None), IMAGE_AXES, "pixel"),
                "depth": InputSpec((1, None, None), IMAGE_AXES, "pixel"),
            }
            self.classes = ("other", "road")

    def __getitem__(self, index: int) -> dict[str, Any]:
        make = torch.Generator().manual_seed(index)
        inputs = {name: torch.rand(shape, generator=make) for name, shape in self.shapes.items()}
        if "depth" in inputs:
            inputs["depth"] = 2 + 40 * inputs["depth"]  # metres
        return {"id": self.ids[index], "inputs": inputs, "target": None, "meta": {}}


def build(config: Mapping[str, Any]) -> tuple[Samples, BaseModel]:
    """Samples and model of a case, in each voting process."""
    case = CASES[config["case"]]
    samples = Samples(case, config["samples"])
    torch.manual_seed(0)
    classes = len(samples.classes)
    encoding = {name: {"name": "retained_indicator"} for name in samples.inputs}
    if case.model == "elementwise_fusion":
        return samples, ElementwiseFusion(samples.inputs, classes, encoding)
    if case.model == "rgbd_fusion":
        return samples, RGBDFusion(samples.inputs, classes, encoding)
    encoding = {name: {"name": "zero"} for name in samples.inputs}
    return samples, RoadSeg(samples.inputs, classes, encoding, encoder="resnet18")


def ballot_of(name: str, folder: Path, *, draws: int, samples: int = 1, **settings: Any) -> Ballot:
    """The ballot of a case, its ``votes`` folder made."""
    case, config = CASES[name], {"case": name, "samples": samples}
    dataset, model = build(config)
    spec = SchemeSpec("mmcert", k=dict(case.k))
    scheme = spec.for_sample(dataset[0], dataset.inputs)
    task = "classification" if case.model == "elementwise_fusion" else "segmentation"
    classes = len(dataset.classes)
    write_meta(folder, VotesMeta(task, "mmcert", scheme.modalities, draws, classes))
    given = {"block": model.default_block, "precision": case.precision, "processes": 1, **settings}
    voting = VotingSettings(draws, **given)
    every = draws_of_all(dataset.ids, voting)
    return Ballot(build, config, dataset.ids, spec, voting, every, 1, folder, "benchmark")


def bare_forward(name: str, fabric: Fabric, block: int) -> Callable[[], Any]:
    """The forward pass of one block on inputs that are there already."""
    ballot_model = build({"case": name, "samples": 1})
    samples, model = ballot_model
    model.eval().requires_grad_(False).to(fabric.device)
    from mmcert.voting.draws import make_sampler

    spec = SchemeSpec("mmcert", k=dict(CASES[name].k))
    scheme = spec.for_sample(samples[0], samples.inputs)
    subsets = make_sampler("fixed", 1)(scheme, "s", "test", range(block), fabric.device)
    masks = {modality: subset.mask for modality, subset in subsets.items()}
    with torch.inference_mode(), fabric.autocast():
        state = model.prepare(samples[0])
        if isinstance(model, RoadSeg):
            seen: list[Any] = []
            hook = model.net.register_forward_pre_hook(lambda _, streams: seen.append(streams))
            model.label(state, subsets)
            hook.remove()

    def run() -> Any:
        with torch.inference_mode(), fabric.autocast():
            if isinstance(model, RoadSeg):
                return model.net(*seen[0])
            if isinstance(model, RGBDFusion):
                return model.logits(state["inputs"], masks)
            return model.label(state, subsets)

    return run


def timed(run: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Seconds of one call, the device's work included, and of processor time in all threads."""
    began, processor = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began, time.process_time() - processor


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def speed(name: str, short: bool) -> dict[str, Any]:
    """Draws per second of voting and of the bare forward pass, alternating."""
    case = CASES[name]
    pairs = max(3, case.pairs // 3) if short else case.pairs
    accelerator: Any = "cuda" if torch.cuda.is_available() else "cpu"
    precision: Any = case.precision
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    with tempfile.TemporaryDirectory() as folder, numerics(1):
        ballot = ballot_of(name, Path(folder), draws=1)
        block = ballot.settings.block
        assert isinstance(block, int)
        voter, bare = make_voter(ballot, fabric), bare_forward(name, fabric, block)
        draws = block * case.blocks
        segments = [Segment("test", i * draws, (i + 1) * draws) for i in range(pairs + 1)]
        voter.expect_draws([Unit(0, "s00000", tuple(segments))])
        runs: list[tuple[float, float]] = []
        processor: list[float] = []
        for segment in segments:
            counted = timed(lambda s=segment: voter.count(0, [s], lambda _: None), fabric.device)
            passes = timed(lambda: [bare() for _ in range(case.blocks)], fabric.device)
            runs.append((draws / counted[0], draws / passes[0]))
            processor.append(passes[1] / counted[1])
    voting, forward = zip(*runs[1:], strict=True)  # the first run warms up
    efficiency = statistics.median(v / f for v, f in runs[1:])
    rate = statistics.median(voting)
    return {
        "name": name,
        "draws_per_second": rate,
        "forward_draws_per_second": statistics.median(forward),
        "efficiency": efficiency,
        "processor_efficiency": statistics.median(processor[1:]),
        "peak_memory_bytes": peak_memory(fabric.device),
        "block": block,
        "device": str(fabric.device),
        "claimed_efficiency": case.efficiency,
        "holds": efficiency >= case.efficiency and rate >= (case.rate or 0),
    }


def processes(name: str, number: int, short: bool) -> dict[str, Any]:
    """Draws per second of several processes and of one, alternating, through the whole command."""
    case = CASES[name]
    rates: dict[int, list[float]] = {1: [], number: []}
    for _ in range(1 if short else 3):
        for world, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                draws = 4 * 1000 * 10 if case.model == "elementwise_fusion" else 8
                ballot = ballot_of(name, Path(folder), draws=draws, samples=2, processes=world)
                turnout = vote(ballot, lambda event: None)
                found.append(turnout.draws / turnout.seconds)
    one, several = statistics.median(rates[1]), statistics.median(rates[number])
    return {
        "name": f"{name}_processes{number}",
        "draws_per_second": several,
        "draws_per_second_of_one": one,
        "speedup": several / one,
        "holds": several >= 0.9 * number * one,
    }


def blocks(name: str, short: bool) -> dict[str, Any]:
    """Share of the votes that differ between blocks of 1, 7 and 32."""
    case = CASES[name]
    draws = 224 * (10 if case.model == "elementwise_fusion" else 1) * (1 if short else 4)
    fabric = Fabric(accelerator="cpu", devices=1, precision=case.precision)  # type: ignore[arg-type]
    votes: dict[int, torch.Tensor] = {}
    with tempfile.TemporaryDirectory() as folder, numerics(1):
        for block in (1, 7, 32):
            ballot = ballot_of(name, Path(folder), draws=draws, block=block)
            voter = make_voter(ballot, fabric)
            parts = [voter.labels(0, "test", first) for first in range(0, draws, block)]
            votes[block] = torch.cat(parts)[:draws].to(torch.uint8)
    differ = {b: int((votes[b] != votes[1]).sum()) / votes[1].numel() for b in (7, 32)}
    return {
        "name": f"{name}_blocks",
        "votes": votes[1].numel(),
        "share_that_differs_7_from_1": differ[7],
        "share_that_differs_32_from_1": differ[32],
        "holds": max(differ.values()) < 1e-5,
    }


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def many_samples(count: int) -> dict[str, Any]:
    """A large data set: how soon it votes, and what it keeps in memory."""
    seen: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        ballot = ballot_of("compact_float32", Path(folder), draws=1, samples=count, block=1)
        began = time.monotonic()
        turnout = vote(
            ballot,
            lambda event: (
                seen.append((time.monotonic() - began, resident())) if event[0] == "draws" else None
            ),
        )
    tenth = next(memory for _, memory in seen[len(seen) // 10 :])
    return {
        "name": f"samples{count}",
        "seconds_to_first_draw": seen[0][0],
        "samples_per_second": turnout.draws / turnout.seconds,
        "memory_bytes_after_a_tenth": tenth,
        "memory_bytes_at_the_end": seen[-1][1],
        "growth_bytes_per_sample": (seen[-1][1] - tenth) / (0.9 * count),
        "holds": seen[0][0] < 5 and seen[-1][1] - tenth < 64 << 20,
    }


def alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """``function(*arguments)`` in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def results(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What was asked for, one after the other."""
    if arguments.samples:
        yield alone(many_samples, arguments.samples)
        return
    for name in arguments.cases:
        if arguments.blocks:
            if CASES[name].model != "roadseg":  # 32 draws of RoadSeg need 13 GB
                yield alone(blocks, name, arguments.short)
        elif arguments.processes:
            yield processes(name, arguments.processes, arguments.short)
        else:
            yield alone(speed, name, arguments.short)


def shown(value: Any) -> str:
    """A value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON line per case")
    parser.add_argument("--short", action="store_true", help="a third of the runs")
    parser.add_argument("--cases", default=",".join(CASES), help=f"some of {','.join(CASES)}")
    parser.add_argument("--processes", type=int, help="compare so many processes with one")
    parser.add_argument("--blocks", action="store_true", help="compare blocks of 1, 7 and 32")
    parser.add_argument("--samples", type=int, help="vote on so many samples")
    arguments = parser.parse_args()
    arguments.cases = arguments.cases.split(",")
    for name in arguments.cases:
        if name not in CASES:
            parser.error(f"unknown case {name}; choose from {', '.join(CASES)}")
    held = True
    for result in results(arguments):
        held = held and result["holds"]
        if arguments.json:
            print(json.dumps(result), flush=True)
        else:
            print("  ".join(f"{key} {shown(value)}" for key, value in result.items()), flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

"""What encoding every element once saves, and that it changes no vote.

``python scripts/compare_encoding_once.py [checkpoint=TRAINING_RUN]``: a trained element-wise
classifier on its test clips, or without a checkpoint one with fresh weights on made-up clips of 108
frames (64x64) and 108 chunks (735 samples); k = 3 of each. Exit code 1 where a claim does not hold.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mmcert.models.elementwise_sequence import ElementwiseSequence
from mmcert.models.registry import build_model
from mmcert.sampling.compact import Bags, bags_of
from mmcert.sampling.subsets import Subset, draw_subsets
from mmcert.theory.schemes import Scheme, make_scheme

DRAWS, WHOLE_NET_DRAWS, RUNS, K = 1000, 40, 7, 3
#: Claims: at least so many times faster; features this close; closer logits may change a vote.
OVER_ALL, OVER_RETAINED, RELATIVE, TIE = 1000, 50, 1e-5, 1e-4
MADE_UP = {
    "video": {"shape": [108, 3, 64, 64], "element_axes": [0], "element": "frame"},
    "audio": {"shape": [108, 735], "element_axes": [0], "element": "chunk"},
}


def made_up() -> tuple[ElementwiseSequence, list[dict[str, Any]], Scheme]:
    """A classifier with fresh weights, two clips of noise, the scheme."""
    torch.manual_seed(0)
    model = build_model(
        "elementwise_sequence", inputs=MADE_UP, classes=8, encoding={"name": "retained_indicator"}
    )
    clips = [
        {
            "id": f"noise {number}",
            "inputs": {name: torch.rand(spec["shape"]) for name, spec in MADE_UP.items()},
        }
        for number in range(2)
    ]
    scheme = make_scheme("mmcert", {"video": 108, "audio": 108}, k={"video": K, "audio": K})
    assert isinstance(model, ElementwiseSequence)
    return model, clips, scheme


def trained(checkpoint: str) -> tuple[ElementwiseSequence, list[dict[str, Any]], Scheme]:
    """The classifier of a checkpoint, its first eight test clips, the scheme of certification."""
    from mmcert.jobs.checkpoint import load_checkpoint
    from mmcert.jobs.workload import build

    stored = load_checkpoint(checkpoint)
    dataset, model = build(
        {
            "checkpoint": checkpoint,
            "sha256": stored.sha256,
            "data": stored.config["data"],
            "data_seed": stored.config["seed"],
            "stored_split": stored.split,
            "allow_code": [],
        }
    )
    clips = [dataset[index] for index in range(min(8, len(dataset)))]
    n = {name: spec.count(clips[0]["inputs"][name].shape) for name, spec in dataset.inputs.items()}
    scheme = make_scheme(stored.config["scheme"]["name"], n, k=stored.config["scheme"]["k"])
    assert isinstance(model, ElementwiseSequence)
    return model, clips, scheme


def whole_net(
    model: ElementwiseSequence, inputs: Mapping[str, Tensor], subsets: Mapping[str, Subset], d: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw ``d`` by ablating the raw input and running everything: logits (C,), and the tables."""
    tables, pooled = {}, []
    for name, x in inputs.items():
        mask = subsets[name].mask[d]
        ablated = torch.where(mask.reshape(-1, *[1] * (x.ndim - 1)), x, 0.0)
        places = torch.arange(len(mask))
        tables[name] = model.table(name, ablated, places)
        pooled.append(model.pools[name](tables[name], bags_of(Subset(mask[None]))))
    return model.head(pooled)[0], tables


def retained_only(
    model: ElementwiseSequence, inputs: Mapping[str, Tensor], subsets: Mapping[str, Subset]
) -> Tensor:
    """Labels of all draws, encoding what each retains, all of it in one batch."""
    pooled = []
    for name, x in inputs.items():
        bags = bags_of(subsets[name])
        features = model.encoders[name](x[bags.rows], bags.rows)
        table = model.contributions(name, features)
        own = Bags(torch.arange(len(table)), bags.offsets, bags.counts)
        pooled.append(model.pools[name](table, own))
    return model.head(pooled).argmax(1)


def seconds(run: Callable[[], object]) -> float:
    """Median time of a run, after one that is not timed."""
    run()
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> int:
    """Print the table."""
    torch.set_num_threads(1)
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    model, clips, scheme = trained(given["checkpoint"]) if given else made_up()
    model.eval()
    failures = []
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        worst, other, ties, identical = 0.0, 0, 0, True
        for clip in clips:
            inputs = {name: clip["inputs"][name].to(dtype) for name in model.modalities}
            subsets = draws(scheme, clip["id"], WHOLE_NET_DRAWS)
            with torch.inference_mode():
                state = model.prepare({"id": clip["id"], "inputs": inputs})
                labels = model.label(state, subsets)
                for d in range(WHOLE_NET_DRAWS):
                    logits, tables = whole_net(model, inputs, subsets, d)
                    for name, table in tables.items():
                        kept = subsets[name].mask[d]
                        there, here = table[kept], state["tables"][name][kept]
                        identical &= torch.equal(there, here)
                        error = (there - here).norm(dim=1) / there.norm(dim=1)
                        worst = max(worst, float(error.max()))
                    if labels[d] != logits.argmax():
                        top = logits.topk(2).values
                        close = float(top[0] - top[1]) < TIE
                        ties, other = ties + close, other + (not close)
        total = WHOLE_NET_DRAWS * len(clips)
        print(
            f"{str(dtype).removeprefix('torch.')}: {total} draws, largest relative difference of "
            f"features {worst:.1e} ({'' if identical else 'not '}bit-identical); votes that "
            f"differ: {ties} with two logits within {TIE}, {other} others"
        )
        if worst > RELATIVE or other or (dtype == torch.float64 and not identical):
            failures.append(f"{dtype}: features or votes differ")
    model.to(torch.float32)
    inputs = {name: clips[0]["inputs"][name] for name in model.modalities}
    subsets, few = draws(scheme, "a", DRAWS), draws(scheme, "a", WHOLE_NET_DRAWS)
    with torch.inference_mode():
        prepared = seconds(lambda: model.prepare({"id": "a", "inputs": inputs}))
        state = model.prepare({"id": "a", "inputs": inputs})
        once = seconds(lambda: model.label(state, subsets)) / DRAWS
        sampled = seconds(lambda: model.label(state, draws(scheme, "a", DRAWS))) / DRAWS
        every = seconds(lambda: [whole_net(model, inputs, few, d) for d in range(4)]) / 4
        kept = seconds(lambda: retained_only(model, inputs, few)) / WHOLE_NET_DRAWS
    print(f"encoding a clip once: {prepared * 1e3:.1f} ms")
    print(f"a draw: {once * 1e6:.1f} us; with its sampling {sampled * 1e6:.1f} us")
    for what, slow, claim in (
        ("all elements", every, OVER_ALL),
        ("the retained elements", kept, OVER_RETAINED),
    ):
        print(
            f"encoding {what} in each draw: {slow * 1e6:.0f} us, {slow / once:.0f} times as long, "
            f"{slow / sampled:.0f} times with the sampling (claimed: {claim})"
        )
        if slow / once < claim:
            failures.append(f"less than {claim} times faster than encoding {what}")
    for failure in failures:
        print("FAILED:", failure)
    return bool(failures)


def draws(scheme: Scheme, sample_id: str, count: int) -> dict[str, Subset]:
    """The first draws of a clip."""
    return draw_subsets(scheme, seed=0, sample_id=sample_id, stream="test", draws=range(count))


if __name__ == "__main__":
    sys.exit(main())

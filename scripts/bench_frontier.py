"""How long the whole frontier takes: 58 KITTI-size images, N = 1000, a 50 x 50 grid, all metrics.

Simulates votes (``method`` section 3.5: road and background pixels that a base model labels with
probability near 1, the rest from Beta(4, 2)), writes them, and times reading with histogramming
apart from everything else. One core: run with ``OMP_NUM_THREADS=1``.

    python scripts/bench_frontier.py [--images 58] [--draws 1000] [--side 50] [--claims robust]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from mmcert.certification.evaluate import assess, options_for
from mmcert.certification.options import CLAIMS, OPTIONS, check_claims
from mmcert.certification.reading import read_samples
from mmcert.records.certificates import write_certificates
from mmcert.records.folders import VotesFolders
from mmcert.records.meta import VotesMeta
from mmcert.records.metrics_file import write_metrics
from mmcert.records.votes import SampleVotes, write_meta, write_sample
from mmcert.theory.modality import Modality
from mmcert.theory.schemes import IndependentSubsampling

HEIGHT, WIDTH = 375, 1242
ELEMENT = "pixel (all channels)"


def simulated(index: int, draws: int, scheme: IndependentSubsampling) -> SampleVotes:
    """One image: the lower middle is road; 4.5 % of the pixels are hard."""
    rng = np.random.default_rng(index)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    road = (rows > 200) & (np.abs(columns - WIDTH / 2) < (rows - 180) * 1.5 + 10 * index)
    p = 1 - rng.exponential(5e-4, (HEIGHT, WIDTH))
    hard = rng.random((HEIGHT, WIDTH)) < 0.045
    p[hard] = rng.beta(4, 2, int(hard.sum()))
    right = rng.binomial(draws, np.clip(p, 0, 1))
    counts = np.where(road, np.stack([draws - right, right]), np.stack([right, draws - right]))
    return SampleVotes(f"um_{index:06d}", counts, road.astype(np.uint8), draws, scheme)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=58)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--side", type=int, default=50, help="budgets per modality")
    parser.add_argument("--claims", nargs="+", default=list(CLAIMS))
    arguments = parser.parse_args()
    n = HEIGHT * WIDTH
    modalities = (Modality("rgb", n, 8988, ELEMENT), Modality("depth", n, 996, ELEMENT))
    scheme = IndependentSubsampling(modalities)
    meta = VotesMeta("segmentation", "mmcert", modalities, arguments.draws, 2)
    budgets = [
        {"rgb": r1, "depth": 2 * r2} for r1 in range(arguments.side) for r2 in range(arguments.side)
    ]
    with tempfile.TemporaryDirectory() as folder:
        votes = Path(folder) / "votes"
        write_meta(votes, meta)
        for index in range(arguments.images):
            write_sample(votes, simulated(index, arguments.draws, scheme), meta)
        size = sum(path.stat().st_size for path in votes.iterdir())
        print(
            f"{arguments.images} images of {HEIGHT}x{WIDTH}, N = {arguments.draws}, "
            f"{len(budgets)} budgets, {size / 1e6:.0f} MB of votes"
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        options = options_for({name: {} for name in OPTIONS}, meta)
        claims = check_claims(arguments.claims)
        began = time.perf_counter()
        samples = read_samples(VotesFolders([votes]), meta, options, claims)
        reading = time.perf_counter() - began
        print(f"reading and histogramming: {reading:.1f} s (limit 30)")
        began = time.perf_counter()
        document, rows, _ = assess(samples, meta, options, budgets=budgets, claims=claims)
        write_certificates(Path(folder) / "certificates.parquet", rows)
        write_metrics(Path(folder) / "metrics.json", document)
        taken = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"all of {', '.join(OPTIONS)}, claims {', '.join(arguments.claims)}: {taken:.2f} s "
            f"(limit 5), peak memory {peak / 1024:.0f} MB (before: {before / 1024:.0f}; limit 1024)"
        )


if __name__ == "__main__":
    main()

"""A figure of what a depth stream sees of ablated depth: normals, interpolation, ground height.

    python scripts/show_blind_normals.py --root data/kitti_road --out outputs/blind_normals.png

One row per retained ratio: the retained depth, its surface normals (as colours), and from the same
pixels inverse depth and height above the ground, both interpolated. Prints how many pixels have a
normal.
"""

from __future__ import annotations

import argparse
from pathlib import Path

RATIOS = (1.0, 0.2, 0.05, 0.0193, 0.00214)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of kitti_road data")
    parser.add_argument("--id", default=None, help="frame; by default the first")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import torch

    from mmcert.data.roads.kitti_road import KittiRoad
    from mmcert.models.normals import surface_normals
    from mmcert.sampling.camera import camera_matrices, cameras_of
    from mmcert.sampling.encodings import build_encoding
    from mmcert.sampling.subsets import draw_subsets
    from mmcert.theory.schemes import make_scheme

    frames = KittiRoad("all", root=options.root)
    frame = frames[frames.ids.index(options.id) if options.id else 0]
    depth = frame["inputs"]["depth"]
    camera = camera_matrices(cameras_of([frame["meta"]]))[0]
    spec = KittiRoad.inputs["depth"]
    dense = build_encoding(
        {"name": "interpolation", "inverse": True, "zero_is_missing": True}, spec
    )
    above_ground = build_encoding({"name": "ground_height"}, spec)
    measured = int((depth > 0).sum())
    figure, axes = plt.subplots(
        len(RATIOS), 4, figsize=(20, 1.75 * len(RATIOS)), layout="constrained", squeeze=False
    )
    for row, ratio in zip(axes, RATIOS, strict=True):
        n = depth[0].numel()
        scheme = make_scheme("mmcert", {"depth": n}, ratio={"depth": ratio})
        drawn = draw_subsets(
            scheme, seed=options.seed, sample_id=frame["id"], stream="test", draws=range(1)
        )
        mask = drawn["depth"].mask
        retained = torch.where(mask.view_as(depth), depth, 0.0)[0]
        normals, valid = surface_normals(retained, camera)
        inverse = dense(depth[None], mask)[0, 0]
        height = above_ground(depth[None], mask)[0, 0]
        print(
            f"{ratio:7.3%} retained: {int(valid.sum())} of {measured} measured pixels have a normal"
        )
        shown = torch.where(valid, (normals + 1) / 2, 0.0).permute(1, 2, 0)
        # Single pixels would vanish in print: each is drawn as the 3x3 pixels around it.
        visible = torch.nn.functional.max_pool2d(retained[None], 3, 1, 1)[0]
        for axis, picture, title, limits in (
            (row[0], visible, f"{ratio:.3%} of the depth", (None, None)),
            (row[1], shown, f"{int(valid.sum())} surface normals", (None, None)),
            (row[2], inverse, "inverse depth, interpolated", (None, None)),
            (row[3], height, "height above the ground, squashed", (-0.5, 0.5)),
        ):
            axis.imshow(picture.numpy(), cmap="viridis", vmin=limits[0], vmax=limits[1])
            axis.set_title(title, fontsize=9)
            axis.set_axis_off()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=110)
    print(f"{options.out} written.")


if __name__ == "__main__":
    main()

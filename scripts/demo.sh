#!/usr/bin/env bash
# The main job, end to end: make data, train two base models, vote, certify, compare.
# Usage: scripts/demo.sh [output folder]; every step goes on where an earlier run of it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-outputs/demo}
bin=.venv/bin

step() {
  printf '\n\033[1m$ %s\033[0m\n' "$*"
  "$bin/$@"
}

began=$SECONDS
# Scenes of another seed than those on which the experiment's k and ray were chosen.
step mmcert-prepare dataset=synthetic_roads out="$out/data" 'size=[96,320]' seed=1
for scheme in mmcert randomized_ablation; do
  step mmcert-train experiment="synthetic_roads_$scheme" data.root="$out/data" run_dir="$out/training/$scheme"
done
for scheme in mmcert randomized_ablation; do
  step mmcert-certify checkpoint="$out/training/$scheme" run_dir="$out/$scheme"
done
step mmcert-report runs="[$out/mmcert,$out/randomized_ablation]" 'ray={rgb: 4, depth: 1}' run_dir="$out"
printf '\nThe demo took %d s. Open %s/report/index.html\n' "$((SECONDS - began))" "$out"

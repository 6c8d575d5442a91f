#!/usr/bin/env bash
# The main job, end to end: make data, train two base models, vote, certify, compare.
# Usage: scripts/demo.sh [output folder]; every step goes on where an earlier run of it stopped, and
# one that is finished says so. Ctrl-C ends everything that runs. BIN: where the commands are.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-outputs/demo}
bin=${BIN:-.venv/bin}
schemes=(mmcert randomized_ablation)

say() {
  printf '\n\033[1m$ %s\033[0m\n' "$*"
}

step() {
  say "$@"
  "$bin/$@"
}

# The lines of a command with its name before each; it outlives a Ctrl-C, to show the last ones.
named() {
  trap '' INT TERM
  while IFS= read -r line || [ -n "$line" ]; do printf '%-20s| %s\n' "$1" "$line"; done
}

# Two single-threaded trainings take as long as one, on two cores.
train() {
  "$bin/mmcert-train" experiment="synthetic_roads_$1" data.root="$out/data" \
    run_dir="$out/training/$1" 2>&1 | named "$1"
}

end_all() {
  trap '' INT TERM
  for pid in "${pids[@]}"; do kill -INT -- "-$pid" 2>/dev/null || true; done
  wait
  exit "$1"
}

train_all() {
  pids=()
  set -m # each in a process group of its own: one that a script starts otherwise ignores Ctrl-C
  for scheme in "${schemes[@]}"; do
    say "mmcert-train experiment=synthetic_roads_$scheme data.root=$out/data run_dir=$out/training/$scheme"
    train "$scheme" &
    pids+=("$!")
  done
  set +m
  trap 'end_all 130' INT
  trap 'end_all 143' TERM HUP
  local left=${#pids[@]} pid
  local running=("${pids[@]}") still
  while [ "$left" -gt 0 ]; do
    sleep 0.5
    still=()
    for pid in "${running[@]}"; do
      if kill -0 "$pid" 2>/dev/null; then
        still+=("$pid")
      elif ! wait "$pid"; then
        printf '\nA training failed, see its last lines above; the other one is ended. Mend it, and run the demo again.\n' >&2
        end_all 1
      fi
    done
    left=${#still[@]}
    running=(${still[@]+"${still[@]}"})
  done
  trap - INT TERM HUP
}

began=$SECONDS
# Scenes of another seed than those on which the experiment's k and ray were chosen.
step mmcert-prepare dataset=synthetic_roads out="$out/data" 'size=[96,320]' seed=1
train_all
for scheme in "${schemes[@]}"; do
  step mmcert-certify checkpoint="$out/training/$scheme" run_dir="$out/$scheme"
done
step mmcert-report runs="[$out/mmcert,$out/randomized_ablation]" 'ray={rgb: 4, depth: 1}' run_dir="$out"
printf '\nThe demo took %d s. Open %s/report/index.html\n' "$((SECONDS - began))" "$out"

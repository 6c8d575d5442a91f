#!/usr/bin/env bash
# The main job, end to end: make data, train two base models, vote, certify, compare.
# Usage: scripts/demo.sh [output folder]; every step goes on where an earlier run of it stopped, and
# one that is finished says so. Ctrl-C ends everything that runs. BIN: where the commands are.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-outputs/demo}
bin=${BIN:-.venv/bin}
schemes=(mmcert randomized_ablation)
special='*[!A-Za-z0-9_./=-]*'
quote="'"

# Text in single quotes for Hydra's grammar, where it holds more than letters and digits.
hydra() {
  case $1 in $special) printf %s "$quote${1//$quote/\\$quote}$quote" ;; *) printf %s "$1" ;; esac
}

# A command line as it can be pasted into a shell.
say() {
  local word
  printf '\n\033[1m$'
  for word; do
    case $word in $special) word=$quote${word//$quote/$quote\\$quote$quote}$quote ;; esac
    printf ' %s' "$word"
  done
  printf '\033[0m\n'
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

# Interrupts every training that still runs, waits for what they say, and ends the demo.
end_all() {
  local pid
  trap '' INT TERM
  for pid in "${pids[@]}"; do kill -INT -- "-$pid" 2>/dev/null || true; done
  wait
  exit "$1"
}

# Two single-threaded trainings side by side take as long as one, on two cores.
train_all() {
  local scheme pid running still
  pids=()
  trap 'end_all 130' INT
  trap 'end_all 143' TERM HUP
  set -m # each in a process group of its own: what a script starts otherwise ignores Ctrl-C
  for scheme in "${schemes[@]}"; do
    set -- mmcert-train experiment="synthetic_roads_$scheme" \
      data.root="$(hydra "$out/data")" run_dir="$(hydra "$out/training/$scheme")"
    say "$@"
    ("$bin/$@" 2>&1 | named "$scheme") &
    pids+=("$!")
  done
  set +m
  still=("${pids[@]}")
  while [ "${#still[@]}" -gt 0 ]; do
    sleep 0.5
    running=("${still[@]}")
    still=()
    for pid in "${running[@]}"; do
      if kill -0 "$pid" 2>/dev/null; then
        still+=("$pid")
      elif ! wait "$pid"; then
        printf '\nA training failed: see its last lines above. The other one is ended. Mend what they say, and run the demo again.\n' >&2
        end_all 1
      fi
    done
  done
  trap - INT TERM HUP
}

began=$SECONDS
# Scenes of another seed than those on which the experiment's k and ray were chosen.
step mmcert-prepare dataset=synthetic_roads out="$(hydra "$out/data")" 'size=[96,320]' seed=1
train_all
for scheme in "${schemes[@]}"; do
  step mmcert-certify checkpoint="$(hydra "$out/training/$scheme")" run_dir="$(hydra "$out/$scheme")"
done
step mmcert-report runs="[$(hydra "$out/mmcert"),$(hydra "$out/randomized_ablation")]" \
  'ray={rgb: 4, depth: 1}' run_dir="$(hydra "$out")"
printf '\nThe demo took %d s. Open %s/report/index.html\n' "$((SECONDS - began))" "$out"

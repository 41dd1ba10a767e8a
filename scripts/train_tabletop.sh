#!/usr/bin/env bash
# Makes the model of the simulated tabletop from nothing (docs/tabletop.md): recordings, training and packing by the
# package's own commands. Interrupted, the same command goes on. All but the model stays in runs/tabletop.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-models/tabletop}"
runs=runs/tabletop
config=config/train/tabletop
# Two processes of one thread share each batch: on two cores a fifth more frames a second than one process with two threads.
launch=(env ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1 torchrun --standalone --nproc_per_node 2 -m robovlms_ros.cli.main)

say() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }
record() { # FOLDER, further options: episodes, unless they are there
  [ -f "$runs/$1/privileged.npz" ] || robovlms sim record "$runs/$1" "${@:2}"
}
correct() { # MODEL FOLDER, further options: what the expert says to what a model does
  record "$2" --policy "$runs/$1_packed" "${@:3}"
}
train() { # NAME: train, or go on where a run of that name was interrupted; pack it, unless that is done
  [ ! -d "$runs/$1_packed" ] || return 0
  local resume=()
  if [ -n "$(ls "$runs/$1/checkpoints" 2>/dev/null)" ]; then resume=(--resume); fi
  "${launch[@]}" train "$config/$1.yaml" "${resume[@]}"
  robovlms pack "$runs/$1" "$runs/$1_packed" --force
}

say "1/7 demonstrations of the expert"
record demonstrations --family both --episodes 4000
say "2/7 a first model"
train first
say "3/7 what the expert says to what it does"
correct first corrections --family both --episodes 600 --first-seed 2000000
say "4/7 the model goes on with both"
train second
say "5/7 what the expert says to what that one does, where it is not yet good"
correct second further_corrections --family stack --episodes 500 --first-seed 3000000
say "6/7 the model goes on with all"
train third
say "7/7 a policy head with a memory, on the same backbone"
train lstm
robovlms pack "$runs/third" "$out" --head LSTMDecoder="$runs/lstm" --dtype float16 --force
say "done: $out"

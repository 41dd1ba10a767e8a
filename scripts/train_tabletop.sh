#!/usr/bin/env bash
# Makes the model of the simulated tabletop from nothing (docs/tabletop.md): recordings, training and packing by the
# package's own commands. Interrupted, the same command goes on. All but the model stays in runs/tabletop.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-models/tabletop}"
runs=runs/tabletop
config=config/train/tabletop
# Two processes of one thread share each batch: on two cores 120 frames a second, 100 in one process with two threads.
launch=(env ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1 torchrun --standalone --nproc_per_node 2 -m robovlms_ros.cli.main)

say() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }
record() { # FOLDER, further options: episodes of both families, unless they are there
  [ -f "$runs/$1/privileged.npz" ] || robovlms sim record "$runs/$1" --family both "${@:2}"
}
correct() { # MODEL FOLDER SEED EPISODES: what the expert says to what a model does, in scenes of their own
  record "$2" --episodes "$4" --policy "$runs/$1_packed" --first-seed "$3"
}
train() { # NAME: train, or go on where a run of that name was interrupted; pack it, unless that is done
  [ ! -d "$runs/$1_packed" ] || return 0
  local resume=()
  if [ -n "$(ls "$runs/$1/checkpoints" 2>/dev/null)" ]; then resume=(--resume); fi
  "${launch[@]}" train "$config/$1.yaml" "${resume[@]}"
  robovlms pack "$runs/$1" "$runs/$1_packed" --force
}

say "1/9 demonstrations of the expert"
record demonstrations --episodes 4000
say "2/9 a first model"
train first
say "3/9 what the expert says to what it does"
correct first corrections 2000000 600
say "4/9 the model goes on with both"
train second
say "5/9 what the expert says to what that one does"
correct second further_corrections 3000000 600
say "6/9 the model goes on with all"
train third
say "7/9 what the expert says to what the third does"
correct third last_corrections 4000000 400
say "8/9 the model goes on with all"
train fourth
say "9/9 a policy head with a memory, on the same backbone"
train lstm
robovlms pack "$runs/fourth" "$out" --head LSTMDecoder="$runs/lstm" --dtype float16 --force
say "done: $out"

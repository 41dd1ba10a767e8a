#!/usr/bin/env bash
# Makes the model of the simulated tabletop from nothing (docs/tabletop.md): recordings, training and packing by the
# package's own commands. Interrupted, the same command goes on. All but the model stays in runs/tabletop.
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-models/tabletop}"
runs=runs/tabletop
config=config/train/tabletop

say() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }
train() { # NAME: train, or go on where a run of that name was interrupted
  local resume=()
  if [ -n "$(ls "$runs/$1/checkpoints" 2>/dev/null)" ]; then resume=(--resume); fi
  robovlms train "$config/$1.yaml" "${resume[@]}"
}

say "1/7 demonstrations of the expert"
robovlms sim record "$runs/demonstrations" --episodes 1600 --family both
say "2/7 a first model"
train first
robovlms pack "$runs/first" "$runs/first_packed" --force
say "3/7 what the expert says to what the first model does"
robovlms sim record "$runs/corrections" --episodes 400 --family both --policy "$runs/first_packed" --first-seed 2000000
say "4/7 the model goes on with both"
train second
say "5/7 packing it"
robovlms pack "$runs/second" "$runs/second_packed" --force
say "6/7 a policy head with a memory, on the same backbone"
train lstm
say "7/7 packing both heads"
robovlms pack "$runs/second" "$out" --head LSTMDecoder="$runs/lstm" --dtype float16 --force
say "done: $out"

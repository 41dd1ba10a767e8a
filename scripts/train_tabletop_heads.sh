#!/usr/bin/env bash
# Every policy head with the same budget, for the table in docs/tabletop.md: what scripts/train_tabletop.sh has left in
# runs/tabletop goes on with a new head, for 1,500 steps of 64 frames. Interrupted, the same command goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=runs/tabletop
config=config/train/tabletop
launch=(env ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1 torchrun --standalone --nproc_per_node 2 -m robovlms_ros.cli.main)

train() { # NAME, further options
  local folder="$runs/heads/$1" resume=()
  [ ! -d "${folder}_packed" ] || return 0
  printf '\n== %s (after %d s)\n' "$1" "$SECONDS"
  if [ -n "$(ls "$folder/checkpoints" 2>/dev/null)" ]; then resume=(--resume); fi
  "${launch[@]}" train "$config/lstm.yaml" --set output="$folder" "${@:2}" "${resume[@]}"
  robovlms pack "$folder" "${folder}_packed" --force
}

train FCDecoder --set model.overrides.act_head='{type: FCDecoder, hidden_size: 128}'
# LSTMDecoder has had it: runs/tabletop/lstm.
train GPTDecoder --set model.overrides.act_head='{type: GPTDecoder, hidden_size: 128}'
# Words are the language model's: here that is what learns. It is told neither the robot's state nor its actions.
train DiscreteDecoder --set model.overrides.window_size=1 --set model.overrides.fwd_pred_next_n=1 \
  --set model.overrides.act_encoder=null --set model.overrides.state_encoder=null --set data.history_dropout=0 \
  --set model.overrides.train_setup='{freeze_backbone: false, train_vision: true, train_text_embedding: true}' \
  --set model.overrides.act_head='{type: DiscreteDecoder, action_space: discrete, n_bin: 64}' \
  --set optim.batch_size=32

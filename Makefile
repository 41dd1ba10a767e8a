# robovlms_ros. `make` alone lists the targets. Each does its own set-up, once.
#   ROS=jazzy      the same against the ROS 2 Jazzy wheels (default: kilted)
#   PYTHON=...     the interpreter to build the environment from (3.10 to 3.13)

ROS ?= kilted
export ROS
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
in_env := source scripts/env.sh &&

.PHONY: help setup demo demo-replay test lint format bench bench-all bench-data bench-memory bench-node bench-train soak \
	train-tabletop clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: ## make the environment: .venv and the built interfaces
	@scripts/setup.sh

demo: setup ## a simulated robot does what it is told, over ROS; a page with films in demo_out/
	@$(in_env) robovlms demo

train-tabletop: setup ## the tabletop's model from nothing: recordings, training, packing (26 minutes); OUT=folder
	@$(in_env) scripts/train_tabletop.sh $(or $(OUT),models/tabletop)

# Footage of two SO-100 arms lies beside the checkouts of those who build this; a photograph comes with the package.
footage := $(wildcard ../shared/data/real/so100_video.webp)
demo-replay: setup ## replay real camera frames through both nodes over DDS and show the actions
	@$(in_env) robovlms demo-replay $(if $(footage),--footage $(footage))

# Types are checked against Kilted's rclpy: that of Jazzy has no annotations for half of what is called.
lint: setup ## ruff and mypy
	@$(in_env) ruff check . && ruff format --check . $(if $(filter kilted,$(ROS)),&& mypy)

format: setup ## let ruff mend what it can
	@$(in_env) ruff check --fix . && ruff format .

test: lint ## lint, then all tests
	@$(in_env) python -m pytest -n auto --maxprocesses 4 --dist loadfile

bench: setup ## time the exact speed-ups against the plain algorithm; SCALE=full for the full size
	@$(in_env) robovlms bench speedups --scale $(or $(SCALE),quarter)

bench-all: setup ## everything that 'robovlms bench' measures, into docs/performance.md (a quarter of an hour)
	@$(in_env) robovlms bench --write docs/performance.md

bench-node: setup ## latency, freshness, shutdown and lifecycle of the vla_node against their targets (4 minutes)
	@$(in_env) robovlms bench node

soak: setup ## ten minutes of faults for the nodes, every action checked; SECONDS=60 SEED=7
	@$(in_env) python -m robovlms_ros.soak --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

bench-data: setup ## speed and memory of reading shuffled windows from a dataset (some minutes)
	@$(in_env) python bench/dataset_reading.py

bench-memory: setup ## memory of packing and loading a full-size model (30 GB of disk)
	@$(in_env) robovlms bench memory --scale $(or $(SCALE),full)

bench-train: setup ## the training loop beside a plain one in torch, and what kept features gain (some minutes)
	@$(in_env) robovlms bench training

clean: ## remove the environment and everything built
	rm -rf .venv* build* install* log* .setup*.log demo_out *.egg-info

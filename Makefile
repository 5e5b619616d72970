# `make help` lists what there is. Everything is built into $(VENV), in this folder unless you say otherwise.

SHELL := /bin/sh
VENV ?= .venv
PY := $(VENV)/bin/python

# The demo's options, passed on only when given.
DEMO := $(if $(FRAMES),--frames "$(FRAMES)") $(if $(SOURCE),--source "$(SOURCE)") \
        $(if $(RATE),--rate "$(RATE)") $(if $(TOPIC),--topic "$(TOPIC)") $(if $(MODEL),--model "$(MODEL)") \
        $(if $(PAGE),--page "$(PAGE)") $(if $(SEED),--seed "$(SEED)") \
        $(if $(filter 1,$(PLAIN)),--plain) $(if $(filter 0,$(LOAD)),--no-load)
# More arguments for gpu/run.py, such as GPU='speed --models resnet18'.
GPU ?=
# More arguments for pytest, such as PYTEST='-k planner'.
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help env env-run demo lint docs train-smoke test test-all gpu

help:
	@echo 'make demo              watch the perception node answer a replay camera; Ctrl-C ends it'
	@echo '     FRAMES=200        end by itself after 200 frames, with a summary'
	@echo '     SOURCE=...        a rosbag2, MCAP or rosbag1 file, a video, a folder of pictures, a webcam index'
	@echo '     RATE=10           frames per second instead of the source'"'"'s own rate'
	@echo '     TOPIC=/camera     which image topic of a bag'
	@echo '     MODEL=...         another checkpoint than the one that is shipped'
	@echo '     PLAIN=1           the best plain network really runs, instead of the impatient one'
	@echo '     LOAD=0            do not keep the machine busy in the middle of the run'
	@echo '     SEED=1            other budgets; the same seed draws the same ones'
	@echo '     PAGE=run.html     where to write the page of the run; default: a temporary file'
	@echo 'make test              linters and all tests but the slow ones (PYTEST="-k name" picks)'
	@echo 'make test-all          linters and all tests, hypotheses with new examples'
	@echo 'make train-smoke       two epochs on generated pictures, evaluated and reported in runs/smoke; part of make test'
	@echo 'make gpu               CUDA tests and benchmarks where there is an NVIDIA GPU, with a Python that has torch:'
	@echo '     PYTHON=...        which; default: python3. Nothing is set up. GPU="--help" lists the options'
	@echo 'make lint              linters only'
	@echo 'make docs              the documentation as a site in build/docs, warnings are errors; part of make test'
	@echo 'make env               only set up the environment for development, in $(VENV)'
	@echo 'make env-run           only set up what the node and the demo need, without torch'
	@echo 'Every other target sets up what it needs first. VENV=path puts the environment elsewhere, PYTHON=path picks the'
	@echo 'Python (3.10 to 3.14) that it is made with.'

env:
	@python=$$(environment/interpreter.sh) && "$$python" -m environment --venv "$(VENV)"

env-run:
	@python=$$(environment/interpreter.sh) && "$$python" -m environment --venv "$(VENV)" --purpose run

demo: env-run
	@"$(PY)" -m impatient_ros.ros.demo $(DEMO)

lint: env
	@"$(PY)" -m ruff check --quiet --output-format=concise
	@"$(PY)" -m ruff format --check --quiet
	@"$(PY)" -m mypy --no-error-summary

docs: env
	@"$(PY)" -m sphinx --quiet --fail-on-warning --jobs auto -d build/doctrees -c docs . build/docs

gpu:
	@"$(or $(PYTHON),python3)" gpu/run.py $(GPU)

train-smoke: env
	@"$(PY)" -m training.smoke runs/smoke

test: lint docs train-smoke
	@"$(PY)" -m pytest -q -m 'not slow' $(PYTEST)

test-all: lint docs train-smoke
	@"$(PY)" -m pytest -q --hypothesis-profile=searching $(PYTEST)

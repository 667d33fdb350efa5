# CI's commands. They run in the active environment, which .ci/run and GitHub's workflows create before they call make.

.PHONY: kernels lint types docs smoke test sweep emulated all quick build native bench-check pretrained wheel release-check

lint:
	ruff check .
	ruff format --check --diff .
	find benchmarks csrc tests -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h' | xargs clang-format --dry-run -Werror
	python .ci/prose.py

# PYTHONPATH shows pyright the package, even if it is not installed.
types:
	python -m mypy
	PYTHONPATH="$(CURDIR)" pyright --verifytypes pixelrnn_ext --ignoreexternal

# Writes every file that depends on csrc/cuda/kernel_list.h; needs `pip install --group device-code`.
kernels:
	PYTHONPATH=tests:benchmarks:. python -m scan.cuda.tables

# Builds the site of documents in build/site. A broken link is an error.
docs:
	sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -b html docs build/site

# Tests the installed package, from a folder without the source of the package.
smoke:
	cd tests/repository && python smoke.py && python -m pixelrnn_ext

# `python -m pytest` would import the source folder instead of the installed package.
test:
	pytest -n 2

# Runs the long tests, and all combinations of parameters. SLICE=0 to 4 runs a fifth of these tests, as CI does.
sweep:
	pytest -m sweep -n 2 --dist loadgroup $(SLICE:%=--slice %)

# Runs the CUDA kernels on a CPU and estimates their cycles; needs `pip install --group device-code`. SLICE as in sweep.
emulated:
	pytest -m emulated -n 2 --dist loadgroup $(SLICE:%=--slice %)

# Runs tests that the changed files may break, in a minute. FILES replaces git's list of changed files.
quick:
	python tests/quick.py $(FILES)

# Builds the CPU library in place. ninja compiles only what changed.
build:
	PIXELRNN_NATIVE=1 PIXELRNN_CUDA=0 python setup.py -q build_ext --inplace

# Runs all checks. Run it after a change of csrc, of the emulator or of the build.
all: lint types docs emulated sweep test

# Parts of the targets test and sweep. native checks the CPU kernels and their operators, bench-check checks the
# benchmarks.
native:
	pytest -m "not emulated" tests/native/test_checks.py

bench-check:
	pytest -m "not emulated" tests/benchmarks/test_benchmarks.py

# Trains and replaces the models of pixelrnn_ext/pretrained, in an hour on two cores. Their README.md is written by
# hand. The first command checks that the package is built in place, as by `pip install -e .`.
pretrained:
	python -c 'from pixelrnn_ext.operators import library; raise SystemExit(library.why_no_native())'
	for m in pixelcnn row diagonal; do \
	  python -m pixelrnn_ext train --data mnist5k --binarisation dynamic --model $$m --num-layers 7 --parameters 66000 --epochs 40 \
	    --learning-rate 0.003 --schedule cosine --ema 0.999 --out runs/mnist5k-$$m && \
	  python -m pixelrnn_ext.training.export --force runs/mnist5k-$$m mnist5k-$$m || exit 1; \
	done

# Builds the released wheel in dist/, one file for every Python, torch and CUDA; needs `pip install --group wheel`.
# GCC 12 is the newest compiler whose symbols csrc/old_libraries.cpp defines. macOS has no CUDA.
wheel:
	rm -rf build/wheel build/unpacked build/temp.* dist/*.whl
	if [ "$$(uname)" = Linux ]; then export PIXELRNN_OLD_LIBRARIES=1 PIXELRNN_CUDA=1 CXX=g++-12; else export PIXELRNN_CUDA=0; fi; unset PIXELRNN_LINE_NUMBERS; \
	  PIXELRNN_NATIVE=1 python -m pip wheel --no-deps --wheel-dir build/wheel .
	if [ "$$(uname)" = Linux ]; then \
	  python -m zipfile --extract build/wheel/*.whl build/unpacked && \
	  ! grep -rlF "$(CURDIR)" build/unpacked && \
	  auditwheel repair --only-plat --plat manylinux_2_28_$$(uname -m) --exclude 'libtorch*' --exclude 'libc10*' --wheel-dir dist build/wheel/*.whl; \
	else mkdir -p dist && cp build/wheel/*.whl dist; fi
	ls -l dist

# Checks a release before its tag, with the wheel already in dist/; needs `pip install --group release`.
release-check:
	rm -f dist/*.tar.gz
	python -m build --sdist --outdir dist
	twine check --strict dist/*
	python .github/release_check.py

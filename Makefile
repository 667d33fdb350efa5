# CI's commands. They run in the active environment, which .ci/run and GitHub's workflows create.

.PHONY: kernels schemas lint types docs smoke test sweep emulated notebook all quick build pretrained wheel release-check

lint:
	ruff check .
	ruff format --check --diff .
	find benchmarks csrc tests -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h' | xargs clang-format --dry-run -Werror
	python .ci/prose.py

# PYTHONPATH lets pyright find a package that is not installed.
types:
	python -m mypy
	PYTHONPATH="$(CURDIR)" pyright --verifytypes pixelrnn_ext --ignoreexternal

# Writes every file that is generated from csrc/cuda/scan/kernel_list.h. Needs `pip install --group device-code`. Then
# prints for each kernel how much slower a scan would be without it.
kernels:
	PYTHONPATH=build_tools python -m kernel_costs
	$(MAKE) build
	PYTHONPATH=build_tools:. python -m kernel_costs.plans
	PYTHONPATH=tests:build_tools:. python -m scan.cuda.losses

# Records the hashes of the operators' schemas after a change of a schema in csrc/operators. Build _C_cuda before, if its
# schemas have changed.
schemas: build
	PYTHONPATH=. python build_tools/record_schemas.py

# Builds the documents as a site in build/site. A warning, such as a broken link, is an error.
docs:
	sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -b html docs build/site

# Tests the installed package in a folder from which Python cannot import the source.
smoke:
	cd tests/repository && python smoke.py && python -m pixelrnn_ext

# `python -m pytest` would import the source folder instead of the installed package.
test:
	pytest -n 2

# Runs the long tests, which are marked `sweep`. SLICE=0, 1, 2, 3 or 4 selects a fifth of them.
sweep:
	pytest -m sweep -n 2 --dist loadgroup $(SLICE:%=--slice %)

# Runs the CUDA kernels on the emulator and estimates their cycles. Needs `pip install --group device-code`. SLICE works
# as in `sweep`.
emulated:
	PYTHONPATH=tests python -c 'import sys; from helpers import nvrtc; sys.exit(nvrtc.why_no_compiler())'
	pytest -m emulated -n 2 --dist loadgroup $(SLICE:%=--slice %)

# Runs the tests that changed files may break. FILES lists these files, by default those that git calls changed.
quick:
	python tests/quick.py $(FILES)

build:
	PIXELRNN_NATIVE=1 PIXELRNN_CUDA=0 python setup.py -q build_ext --inplace

# Runs the notebook whole, and stores it with its outputs: fifteen minutes or less. Needs `pip install --group notebook`.
notebook:
	python docs/notebooks/run.py

# Runs all checks, for example after a change of csrc, of the emulator or of the build.
all: lint types docs emulated sweep test notebook

# Trains the models of pixelrnn_ext/pretrained again, for an hour on two cores. Needs `pip install -e .`. Update the
# README.md there by hand.
pretrained:
	python -c 'from pixelrnn_ext.operators import library; raise SystemExit(library.why_no_native())'
	for m in pixelcnn row diagonal; do \
	  python -m pixelrnn_ext train --data mnist5k --binarisation dynamic --model $$m --num-layers 7 --parameters 66000 --epochs 40 \
	    --learning-rate 0.003 --schedule cosine --ema 0.999 --out runs/mnist5k-$$m && \
	  python -m pixelrnn_ext.training.export --force runs/mnist5k-$$m mnist5k-$$m || exit 1; \
	done

# Builds the released wheel in dist/. Needs `pip install --group wheel`, and GCC 12, because csrc/old_libraries.cpp
# defines the symbols that GCC 12's code needs and old libraries lack. On macOS the wheel has no CUDA kernels.
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

# Checks a release before its tag. The wheel must be in dist/. Needs `pip install --group release`.
release-check:
	rm -f dist/*.tar.gz
	python -m build --sdist --outdir dist
	twine check --strict dist/*
	python .github/release_check.py

# The commands of CI, in the environment that is active: .ci/run and the workflow of GitHub make environments, and call these. A
# Makefile, since a tool that makes environments of its own, such as nox, would have to be told about theirs.

.PHONY: kernels lint types docs smoke test sweep emulated all quick build native bench-check pretrained wheel release-check

lint:
	ruff check .
	ruff format --check --diff .
	find benchmarks csrc tests -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h' | xargs clang-format --dry-run -Werror

# pyright finds the package by PYTHONPATH, whether it is installed or not.
types:
	python -m mypy
	PYTHONPATH="$(CURDIR)" pyright --verifytypes pixelrnn_ext --ignoreexternal

# Every file that follows from csrc/cuda/kernel_list.h; needs `pip install --group device-code`.
kernels:
	PYTHONPATH=tests:benchmarks:. python -m scan.cuda.tables

# The site of documents, in build/site; a link that leads nowhere is an error.
docs:
	sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -b html docs build/site

# What is installed, from another folder than that of the source.
smoke:
	cd tests/repository && python smoke.py && python -m pixelrnn_ext

# README's command. `pytest`, not `python -m pytest`, which would take the source folder before the installed package.
test:
	pytest -n 2

# The long tests, and all combinations of the others. SLICE=0 to 4 runs a fifth of them, which CI does.
sweep:
	pytest -m sweep -n 2 --dist loadgroup $(SLICE:%=--slice %)

# The CUDA kernels, executed on the CPU, and their cycles by a model; needs `pip install --group device-code`. SLICE as above.
emulated:
	pytest -m emulated -n 2 --dist loadgroup $(SLICE:%=--slice %)

# What the changed files can break, in a minute; FILES names them where git does not see them.
quick:
	python tests/quick.py $(FILES)

# The CPU library in place, by ninja, which compiles what changed.
build:
	PIXELRNN_NATIVE=1 PIXELRNN_CUDA=0 python setup.py -q build_ext --inplace

# Everything that the environment can check. A change of csrc, of the emulator or of the build ends with it.
all: lint types docs emulated sweep test

# Parts of test and sweep together: the CPU kernels without torch, under the sanitizers, by Clang and on AArch64; the benchmarks,
# every provider checked.
native:
	pytest -m "not emulated" tests/native/test_checks.py

bench-check:
	pytest -m "not emulated" tests/benchmarks/test_benchmarks.py

# The models of pixelrnn_ext/pretrained, which it replaces: an hour on two cores; the card there is written by hand. The package must be
# built in place, as `pip install -e .` does: the first line says so where it is not.
pretrained:
	python -c 'from pixelrnn_ext.operators import library; raise SystemExit(library.why_no_native())'
	for m in pixelcnn row diagonal; do \
	  python -m pixelrnn_ext train --data mnist5k --binarisation dynamic --model $$m --num-layers 7 --parameters 66000 --epochs 40 \
	    --learning-rate 0.003 --schedule cosine --ema 0.999 --out runs/mnist5k-$$m && \
	  python -m pixelrnn_ext.training.export --force runs/mnist5k-$$m mnist5k-$$m || exit 1; \
	done

# The wheel that is released, in dist/: one file for every Python, every torch and every CUDA; `pip install --group wheel` brings the tools.
# Linux: GCC 12 is the newest compiler whose symbols csrc/old_libraries.cpp has. macOS has no CUDA.
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

# What has to hold before the tag of a release: the wheel is in dist/ already. `pip install --group release` brings the tools.
release-check:
	rm -f dist/*.tar.gz
	python -m build --sdist --outdir dist
	twine check --strict dist/*
	python .github/release_check.py

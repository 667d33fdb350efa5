# The commands of CI, in the environment that is active: .ci/run and the workflow of GitHub make environments, and call these. A
# Makefile, since a tool that makes environments of its own, such as nox, would have to be told about theirs.

.PHONY: lint types docs smoke test sweep emulated native bench-check pretrained wheel repair

lint:
	ruff check .
	ruff format --check --diff .
	find benchmarks csrc tests -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h' | xargs clang-format --dry-run -Werror

# pyright finds the package by PYTHONPATH, whether it is installed or not.
types:
	python -m mypy
	PYTHONPATH="$(CURDIR)" pyright --verifytypes pixelrnn_ext --ignoreexternal

# The site of documents, in build/site; a link that leads nowhere is an error.
docs:
	sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -b html docs build/site

# What is installed, from another folder than that of the source.
smoke:
	cd tests && python smoke.py && python -m pixelrnn_ext

# README's command. `pytest`, not `python -m pytest`, which would take the source folder before the installed package.
test:
	pytest -n 2

# The long tests, and all combinations of the others.
sweep:
	pytest -m sweep -n 2 --dist loadgroup

# The CUDA kernels, executed on the CPU, and their cycles by a model; needs nvcc.
emulated:
	pytest -m emulated -n 2 --dist loadgroup

# Parts of test and sweep together: the CPU kernels without torch, under the sanitizers, by Clang and on AArch64; the benchmarks,
# every provider checked.
native:
	pytest -m "not emulated" tests/test_native_checks.py

bench-check:
	pytest -m "not emulated" tests/test_benchmarks.py

# The models of pixelrnn_ext/pretrained, which it replaces: an hour on two cores; the card there is written by hand. The package must be
# built in place, as `pip install -e .` does: the first line says so where it is not.
pretrained:
	python -c 'from pixelrnn_ext.operators import library; raise SystemExit(library.why_no_native())'
	for m in pixelcnn row diagonal; do \
	  python -m pixelrnn_ext train --data mnist5k --binarisation dynamic --model $$m --num-layers 7 --parameters 66000 --epochs 40 \
	    --learning-rate 0.003 --schedule cosine --ema 0.999 --out runs/mnist5k-$$m && \
	  python -m pixelrnn_ext.training.export --force runs/mnist5k-$$m mnist5k-$$m || exit 1; \
	done

# One wheel in dist/ for every Python and every torch that the package takes; `pip install --group wheel` brings the tools.
wheel:
	rm -rf build/wheel dist/*.whl
	PIXELRNN_NATIVE=1 python -m pip wheel --no-deps --wheel-dir build/wheel .
	$(MAKE) repair WHEEL=build/wheel/*.whl DIST=dist
	abi3audit --strict dist/*.whl
	ls -l dist

# Names the wheel by the oldest glibc that it loads on. The libraries of torch and CUDA stay those of the torch that is installed.
repair:
	if [ "$$(uname)" = Linux ]; then \
	  auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' --exclude 'libcudart*' --wheel-dir "$(DIST)" $(WHEEL); \
	else mkdir -p "$(DIST)" && cp $(WHEEL) "$(DIST)"; fi

# The two commands of the README. Both make .venv and install what they need into it.
PYTHON ?= python3
BIN := .venv/bin
# One test process a core: OpenMP's threads beside them would wait for each other, spinning.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

.PHONY: demo test test-opencv4 tflite clean

demo: .venv/installed
	$(BIN)/mobilepose image examples/pictures -o out
	@echo "Open out/ to see the people that were found."

test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST)

# Whatever uses OpenCV, with the major version that pip does not choose.
OPENCV_TESTS := $(foreach name,sources preprocessing drawing heatmaps detection grouping video video_writer stream cli \
	image_program video_program bottom_up pipeline throughput estimator evaluation,tests/test_$(name).py)

test-opencv4: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/opencv4 'opencv-python<5'
	PYTHONPATH=.venv/opencv4 $(PYTEST) $(OPENCV_TESTS)

# The environment that converts to TFLite; without it `make test` leaves that conversion out.
tflite: .venv-tflite/installed

.venv-tflite/installed: pyproject.toml
	$(PYTHON) -m venv .venv-tflite
	.venv-tflite/bin/python -m pip install --quiet --disable-pip-version-check '.[tflite-convert]'
	@touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml $(shell find mobilepose_sdk prebuilt -type f -not -name '*.pyc')
	$(BIN)/python -m pip install --quiet --disable-pip-version-check .
	@touch $@

# Editable, so that tests see the checkout; `make demo` afterwards goes on working.
.venv/installed-dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv .venv-tflite out dist build

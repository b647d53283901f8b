# Every target makes the virtual environment it needs. `make` alone lists them.
#   PYTHON   which Python to use, 3.11 to 3.13       make test PYTHON=python3.13 VENV=.venv-3.13
#   FRAMES   a folder of your own pictures           make demo FRAMES=~/pictures
#   JOBS     how many tests run at once, 2 unless named    make test JOBS=0 (in one process)
#   ARGS     more arguments for the command          make demo ARGS="--count 50"

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
LOCK_VENV ?= .venv-lock
HOMEASSISTANT_VENV ?= .venv-homeassistant
HOMEASSISTANT_PYTHON ?= $(PYTHON)
ARGS ?=
JOBS ?= 2

# Debian puts mosquitto where an ordinary user's PATH does not look.
export PATH := $(PATH):/usr/sbin:/sbin

PIP = -m pip --disable-pip-version-check --no-input --quiet
RUN = $(VENV)/bin/python
EXTRAS = --extra dev --extra training --extra qat --extra deploy --extra demo --extra camera --group build
LOCK = $(LOCK_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"
# Python 3.11 is Debian 12, whose picamera2 is built for numpy 1: there numpy 2, and an ml-dtypes that needs it, would
# keep the camera from loading. Everything else is what the tests ran with.
DEVICE_PINS = { sed -n 's/ \\$$//; s/^\(numpy\|ml-dtypes\)==.*/&; python_version >= "3.12"/; /==/p' requirements-ci.txt; \
	echo 'numpy<2; python_version < "3.12"'; }
# What needs no camera, broker or model to prove: how the project is written and described.
HABITS = tests/test_style.py tests/test_docs.py tests/test_imports.py tests/test_units.py

.DEFAULT_GOAL := help
.PHONY: help demo install test check bench bench-training soak rig demo-model schemas proto docs picture lock clean mosquitto tools homeassistant

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: $(DEMO_VENV)/.installed ## watch the whole line work on rendered parts, or on FRAMES=folder; Ctrl-C ends it
	@exec $(DEMO_VENV)/bin/edge-inspect demo $(if $(FRAMES),--frames "$(FRAMES)") $(ARGS)

install: $(VENV)/.installed ## edge-inspect, edge-train and edge-deploy into .venv

test: $(VENV)/.installed mosquitto ## run every test; what cannot run here is skipped with its reason
	$(RUN) -m pytest -n $(JOBS) --dist loadfile --durations=15 $(ARGS)

check: $(VENV)/.installed ## lint, formatting, types, import rules, and that generated files are up to date
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q $(HABITS)

bench: $(VENV)/.installed mosquitto ## measure the daemon against its limits, on this machine
	$(RUN) -m compileall -q edge # as on a device: without, a start would compile what changed since
	PYTHONPATH=tests $(RUN) tests/benchmarks/bench.py $(ARGS)

bench-training: $(VENV)/.installed ## measure the training line against its limits, for hours; INSPECT_TEST_DATA says where the data is
	@status=0; bench() { echo; echo "== $$*"; $(RUN) tests/benchmarks/"$$@" || status=1; }; \
	bench neu.py; bench neu.py --alpha 1.0; bench learning_curve.py; bench retraining.py; bench small_defects.py; \
	bench grouped.py; bench imbalanced.py; bench calibration.py; bench hostile_layer.py; exit $$status

SOAKED = tests/test_ledger_disk.py tests/test_ledger_salvage.py tests/test_ledger_damage.py \
	tests/test_outage.py tests/test_bad_network.py tests/test_bad_disk.py tests/test_bad_files.py \
	tests/test_strangers.py tests/test_kill.py tests/test_broker.py tests/test_admission.py tests/test_hostile.py \
	tests/test_sparkplug.py tests/test_accelerator_soak.py tests/test_trigger_journal.py tests/test_faults_soak.py \
	tests/test_soak.py tests/test_ledger_heir.py
soak: $(VENV)/.installed mosquitto ## the long forms of the tests of delivery, of the accelerator and of faults, for hours; prints their figures
	$(RUN) -m pytest -n $(JOBS) --dist loadfile --soak --timeout 7200 $(SOAKED) $(ARGS)

rig: $(VENV)/.installed mosquitto ## the tests that need root or kernel features: a whole host, aarch64, Debian 13; ten minutes and more
	$(RUN) -m pytest -m rig $(ARGS)

homeassistant: $(HOMEASSISTANT_VENV)/.installed ## have the tests ask Home Assistant itself; HOMEASSISTANT_PYTHON=python3.13 or newer

demo-model: $(VENV)/.installed ## train the demo's bundle again, from rendered parts
	$(RUN) -m training.demo_model $(ARGS)

schemas: $(VENV)/.installed ## write the JSON Schemas and asyncapi.yaml again, which say what goes over MQTT
	$(RUN) -m edge.contract.messages
	$(RUN) -m edge.contract.commands
	$(RUN) -m edge.contract.asyncapi

proto: $(VENV)/.installed ## write the code for Sparkplug's payload again, from sparkplug_b.proto
	$(RUN) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. edge/sparkplug/sparkplug_b.proto

docs: $(VENV)/.installed ## write CONFIGURATION.md again
	$(RUN) tests/configuration_page.py

picture: $(DEMO_VENV)/.installed ## draw demo.svg, the README's picture, again
	$(DEMO_VENV)/bin/edge-inspect demo --count 80 --picture demo.svg >/dev/null
	sed -i '/@font-face/,/}/d' demo.svg # the fonts would come from somebody's server

lock: $(LOCK_VENV)/.installed ## resolve the dependencies again (newest allowed) into requirements-*.txt
	$(LOCK) --upgrade $(EXTRAS) pyproject.toml -o requirements-ci.txt
	$(DEVICE_PINS) | $(LOCK) --upgrade -c - pyproject.toml -o requirements-device.txt
	$(DEVICE_PINS) | $(LOCK) --upgrade -c - --extra camera --extra v4l2 pyproject.toml -o requirements-device-camera.txt
	$(LOCK) --upgrade -c requirements-ci.txt --extra demo --group build pyproject.toml -o requirements-demo.txt

clean: ## remove the environments, caches and build leftovers
	rm -rf $(VENV) $(DEMO_VENV) $(LOCK_VENV) $(HOMEASSISTANT_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call install,FOLDER,LOCK): an environment with exactly the locked packages, and this checkout, editable.
define install
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	{ echo "edge-inspect needs Python 3.11, 3.12 or 3.13: name one, such as make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(1) ..."
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/python $(PIP) install --require-hashes -r $(2)
	@$(1)/bin/python $(PIP) install --no-deps --no-build-isolation --editable .
	@$(1)/bin/python -m compileall -q edge training deploy # as installing a wheel does
	@touch $(1)/.installed
endef

$(VENV)/.installed: requirements-ci.txt pyproject.toml
	$(call install,$(VENV),requirements-ci.txt)

$(DEMO_VENV)/.installed: requirements-demo.txt pyproject.toml
	$(call install,$(DEMO_VENV),requirements-demo.txt)

$(LOCK_VENV)/.installed:
	$(PYTHON) -m venv $(LOCK_VENV)
	$(LOCK_VENV)/bin/python $(PIP) install uv
	touch $@

# Home Assistant asks for the newest Python: which of its versions comes depends on that. It installs what integrations
# need by itself when they start; here that happens before, and nothing is installed later.
$(HOMEASSISTANT_VENV)/.installed:
	$(HOMEASSISTANT_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 13))' || \
	{ echo "Home Assistant 2025.4 needs Python 3.13, later ones newer ones: make homeassistant HOMEASSISTANT_PYTHON=python3.13"; exit 1; }
	$(HOMEASSISTANT_PYTHON) -m venv $(HOMEASSISTANT_VENV)
	$(HOMEASSISTANT_VENV)/bin/python $(PIP) install homeassistant
	$(HOMEASSISTANT_VENV)/bin/python -c 'import json, pathlib, homeassistant.components as all; \
	read = lambda name: json.loads(pathlib.Path(all.__path__[0], name, "manifest.json").read_text()); \
	print(*(need for name in ("mqtt", "hassio") for need in read(name).get("requirements", [])))' | \
	xargs $(HOMEASSISTANT_VENV)/bin/python $(PIP) install
	touch $@

# $(call apt,PACKAGES): from Debian, without questions.
define apt
{ if [ "$$(id -u)" -eq 0 ]; then root=env; else root="sudo -n"; fi; \
	apt="$$root DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120"; \
	$$apt update && $$apt install -y --no-install-recommends $(1); }
endef

# The reference broker, from Debian where that is possible; without it the tests that need it are skipped.
mosquitto:
	@command -v mosquitto >/dev/null && command -v mosquitto_rr >/dev/null && command -v jq >/dev/null && exit; \
	echo "Installing mosquitto ..."; \
	$(call apt,mosquitto mosquitto-clients jq) >/dev/null 2>&1 || \
	echo "mosquitto could not be installed; tests that need it will be skipped (apt-get install mosquitto mosquitto-clients jq)"

# A nodejs that is not Debian's has its own npm, and conflicts with Debian's.
TOOLS = gcc libc6-dev mosquitto mosquitto-clients jq bash postgresql openssh-client openssh-server systemd systemd-container \
	iproute2 debootstrap qemu-user-static e2fsprogs chromium $$(command -v npm >/dev/null || echo nodejs npm)
tools: ## install from Debian all programs that tests are skipped without; `make test` brings the broker only
	@$(call apt,$(TOOLS))

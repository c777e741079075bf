# SPDX-License-Identifier: Apache-2.0
#
#   make demo       go from a fresh Debian to a network that answers inside OP-TEE, and show a table of results
#   make test       run the tests on this host, of the image's build, on QEMU and on an emulated Raspberry Pi 3 (three
#                   quarters of an hour)
#   make lab-qemu   run only the tests on QEMU, of the image that is there
#   make lab-pi     run only those on the emulated Raspberry Pi 3
#   make check      run the tests that need neither image nor QEMU (a minute)
#   make lint       run only the linters: ruff, mypy, import-linter, clang-format, shellcheck (.pre-commit-config.yaml)
#   make format     format Python and C
#   make lock       resolve requirements*.in into the lock files; UPGRADE=--upgrade takes the newest versions
#   make test-buildroot  build images with the checkout of Buildroot that BUILDROOT= names, and test them on QEMU and
#                   the emulated Raspberry Pi 3
#   make test-release    build a release of QEMU's image, with keys of its own, and test it (fifteen minutes the first time)
#   make test-emulated-rpmb  build QEMU's image with the RPMB that Debian's tee-supplicant emulates, and test what that gives
#   make test-boards     test the boards' images, and the lab's drivers with stand-in boards (forty minutes)
#   make test-frontends  run the tests that need PyTorch, TensorFlow and MXNet, in environments of their own (5 GB)
#   make test-leakage    run the attacks of an adversary's toolbox on partitioned models, in an environment of their own
#                   (a quarter of an hour)
#   make test-full  run make test with all of OP-TEE's regression suite and more networks, make test-boards,
#                   make test-release, make test-emulated-rpmb, make mutants, make test-leakage and, if BUILDROOT= is
#                   given, make test-buildroot (two hours more)
#   make mutants    change each check of the runtime in turn and see that a test fails (half an hour)
#   make lock-feed  lock which files of Debian's archive images are made of, in feed.lock.json; MACHINES="qemu rpi3",
#                   UPGRADE=--upgrade takes the newest versions
#   make image      build only QEMU's image: kas build kas/qemu.yml
#   make image-rpi3 build only the Raspberry Pi's SD card: kas build kas/rpi3.yml (two minutes after QEMU's)
#   make menu       choose machine, networks and tests in a menu; `kas build` without a manifest builds the choice
#   make boot       boot the image with its console on this terminal (Ctrl-A X leaves)
#   make clean      remove what was built here; keep results, .venv, the cache of downloads and keys
#   make distclean  also remove .venv, and results if you agree (YES=y); keep the cache and the keys in ~/.local/share/tzml
#
# Each command prepares this host first. Logs are in build/logs, results in results/.

unexport PYTHONDONTWRITEBYTECODE # with it, as in many containers, each process compiles every module again

SHELL := /bin/bash -o pipefail
VENV := .venv/bin
LOGS := build/logs
PYTEST := $(VENV)/pytest
PI_TESTS := $(addprefix lab/test_,boot.py xtest.py inference.py)
MACHINES := qemu rpi3 hikey
RELEASE_TESTS := $(addprefix lab/,test_release.py test_attestation.py test_rollback.py attacks/test_canaries.py)
BOARD_TESTS := $(addprefix lab/test_,flash.py board_faults.py remote.py)

.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@tools/bootstrap

image: setup
	@$(VENV)/tzml demo --only image

# Build a manifest: what it is, the name of its log, and the manifest.
define kas-build
@mkdir -p $(LOGS)
@echo "== $(1) (log: $(LOGS)/kas-$(2).log)"
@$(VENV)/kas build $(3) 2>&1 | tee $(LOGS)/kas-$(2).log | sed -u '/^kas: /!d' || { tail -n 20 $(LOGS)/kas-$(2).log; exit 1; }
endef

image-%: setup
	$(call kas-build,image for $*,$*,kas/$*.yml)

environment-%: setup
	@mkdir -p $(LOGS)
	@echo "== environment for $* (log: $(LOGS)/environment-$*.log)"
	@$(VENV)/tzml environment $* 2>&1 | tee $(LOGS)/environment-$*.log

demo: setup
	@$(VENV)/tzml demo

menu:
	@tools/menu

boot: setup
	@$(VENV)/tzml boot qemu

check: setup
	@mkdir -p $(LOGS)
	@echo "== host tests (log: $(LOGS)/check.log)"
	@$(PYTEST) tests --numprocesses auto --dist worksteal 2>&1 | tee $(LOGS)/check.log

test: check image image-rpi3
	@echo "== tests of the build (log: $(LOGS)/build.log)"
	@$(PYTEST) tests/build -m image 2>&1 | tee $(LOGS)/build.log
	@$(MAKE) --no-print-directory --jobs 2 lab-qemu lab-pi LAB_OPTIONS="$(LAB_OPTIONS)" PI_TESTS="$(PI_TESTS)"

# An emulator takes little more than one core, so `make test` runs the two at once, and each has twice the time.
lab-qemu lab-pi: export LG_TIME_SCALE ?= 2
lab-qemu:
	@mkdir -p $(LOGS)
	@echo "== tests on QEMU (log: $(LOGS)/lab.log)"
	@$(PYTEST) lab --lg-env qemu.yaml --durations=20 $(LAB_OPTIONS) 2>&1 | tee $(LOGS)/lab.log

lab-pi:
	@mkdir -p $(LOGS)
	@echo "== tests on the emulated Raspberry Pi 3 (log: $(LOGS)/pi.log)"
	@$(PYTEST) $(PI_TESTS) --lg-env rpi3-emulated.yaml --durations=10 $(LAB_OPTIONS) >$(LOGS)/pi.log 2>&1 || { cat $(LOGS)/pi.log; exit 1; }
	@tail -n 1 $(LOGS)/pi.log

test-boards: image image-rpi3 image-hikey
	@echo "== tests of the boards' images (log: $(LOGS)/build-boards.log)"
	@$(PYTEST) tests/build -m boards 2>&1 | tee $(LOGS)/build-boards.log
	@echo "== tests with stand-in boards (log: $(LOGS)/boards.log)"
	@$(PYTEST) tests/lab --bench -m bench 2>&1 | tee $(LOGS)/boards.log
	@$(PYTEST) $(BOARD_TESTS) --lg-env rpi3-standin.yaml 2>&1 | tee -a $(LOGS)/boards.log
	@$(PYTEST) lab/test_flash.py --lg-env hikey-standin.yaml 2>&1 | tee -a $(LOGS)/boards.log

test-full: LAB_OPTIONS = --xtest full --networks full -m 'full or not full'
test-full: PI_TESTS = lab
# Tests that need Flower, and those with KServe's clients, run with the others where their environments are made.
test-full: environment-flower environment-kserve test test-boards test-release test-emulated-rpmb mutants test-leakage $(if $(BUILDROOT),test-buildroot)
	@$(if $(BUILDROOT),:,echo "== not run: tests of an image made by Buildroot, because BUILDROOT= names no checkout")
	@echo "== what layers and sealing cost, in instructions on QEMU (log: $(LOGS)/costs.log)"
	@$(PYTEST) lab/test_partition.py lab/test_pipeline_costs.py lab/test_sealed_costs.py lab/test_cipher_costs.py lab/test_serve.py --lg-env qemu-counted.yaml --networks full 2>&1 | tee $(LOGS)/costs.log
	@echo "== the compiler with all examples of ONNX, and more random networks (log: $(LOGS)/compiler.log)"
	@$(PYTEST) tests/compiler -m full 2>&1 | tee $(LOGS)/compiler.log
	@echo "== model files that packages ship, in an environment of their own (log: $(LOGS)/wild.log)"
	@tools/test-frontends tests/wild -m full 2>&1 | tee $(LOGS)/wild.log
	@echo "== the runtime with many bundles that a fuzzer makes (log: $(LOGS)/runtime.log)"
	@$(PYTEST) tests/runtime -m full 2>&1 | tee $(LOGS)/runtime.log
	@echo "== pipelines with many records that a relay changes (log: $(LOGS)/pipeline.log)"
	@$(PYTEST) tests/pipeline -m full 2>&1 | tee $(LOGS)/pipeline.log
	@echo "== tzml-serve with many requests that a fuzzer makes, and 10,000 while devices die (log: $(LOGS)/serve.log)"
	@$(PYTEST) tests/serve -m full 2>&1 | tee $(LOGS)/serve.log

# Other keys than those of development images, which more people have, in a folder that outlives the build.
test-release: export TZML_KEYS ?= $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/tzml/release-keys
test-release: export KAS_BUILD_DIR = $(CURDIR)/build/release
test-release: setup build/release
	$(call kas-build,release of QEMU's image,release,kas/qemu.yml:kas/opt/release.yml)
	@echo "== tests of the release on QEMU (log: $(LOGS)/release.log)"
	@LG_DEPLOY=$(KAS_BUILD_DIR)/deploy $(PYTEST) $(RELEASE_TESTS) --lg-env qemu.yaml 2>&1 | tee $(LOGS)/release.log

test-emulated-rpmb: export KAS_BUILD_DIR = $(CURDIR)/build/emulated-rpmb
test-emulated-rpmb: setup build/emulated-rpmb
	$(call kas-build,QEMU's image with an emulated RPMB,emulated-rpmb,kas/qemu.yml:kas/opt/emulated-rpmb.yml)
	@echo "== tests of the emulated RPMB (log: $(LOGS)/emulated-rpmb.log)"
	@LG_DEPLOY=$(KAS_BUILD_DIR)/deploy $(PYTEST) lab/test_rollback.py --lg-env qemu.yaml 2>&1 | tee $(LOGS)/emulated-rpmb.log

build/release build/emulated-rpmb: # kas wants them to be there
	@mkdir -p $@

test-buildroot: $(if $(wildcard $(BUILDROOT)/Makefile),image image-rpi3)
	@[ -f "$(BUILDROOT)/Makefile" ] || { echo "make test-buildroot BUILDROOT=PATH: a checkout of Buildroot, not '$(BUILDROOT)'" >&2; exit 2; }
	@mkdir -p $(LOGS)
	@BUILDROOT="$(BUILDROOT)" $(PYTEST) tests/build/test_buildroot.py
	@tools/buildroot qemu --buildroot "$(BUILDROOT)"
	@tools/buildroot rpi3 --buildroot "$(BUILDROOT)"
	@echo "== tests of Buildroot's image on QEMU (log: $(LOGS)/buildroot.log)"
	@LG_DEPLOY=$(CURDIR)/build/buildroot/deploy $(PYTEST) lab --lg-env qemu.yaml 2>&1 | tee $(LOGS)/buildroot.log
	@echo "== tests of Buildroot's image on the emulated Raspberry Pi 3 (log: $(LOGS)/buildroot-pi.log)"
	@LG_DEPLOY=$(CURDIR)/build/buildroot/deploy $(PYTEST) $(PI_TESTS) --lg-env rpi3-emulated.yaml 2>&1 | tee $(LOGS)/buildroot-pi.log

mutants: setup
	@mkdir -p $(LOGS)
	@echo "== mutants of the runtime (log: $(LOGS)/mutants.log)"
	@$(VENV)/python tools/mutate 2>&1 | tee $(LOGS)/mutants.log

test-frontends: setup
	@mkdir -p $(LOGS)
	@echo "== tests with PyTorch, TensorFlow and MXNet (log: $(LOGS)/frontends.log)"
	@tools/test-frontends 2>&1 | tee $(LOGS)/frontends.log

test-leakage: setup
	@mkdir -p $(LOGS)
	@echo "== attacks on partitioned models (log: $(LOGS)/leakage.log)"
	@tools/test-leakage 2>&1 | tee $(LOGS)/leakage.log

lint: setup
	@PRE_COMMIT_HOME=build/pre-commit $(VENV)/pre-commit run --all-files

format: setup
	@$(VENV)/ruff check --quiet --fix || true # make lint tells what it cannot mend
	@$(VENV)/ruff format
	@git ls-files -z '*.[ch]' | xargs -0 $(VENV)/clang-format -i

lock:
	@UPGRADE=$(UPGRADE) tools/lock

lock-feed: setup
	@for machine in $(MACHINES); do TZML_FEED_RELOCK=$(if $(UPGRADE),upgrade,add) \
		$(VENV)/kas build --task lock_feed kas/$$machine.yml || exit 1; done

clean:
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name keys -exec rm -rf {} +
	rm -rf *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean:
	@tools/distclean $(if $(YES),yes)
	@$(MAKE) --silent -f $(firstword $(MAKEFILE_LIST)) clean

.PHONY: boot check clean demo distclean format help image lab-pi lab-qemu lint lock lock-feed menu mutants setup test test-boards test-buildroot test-emulated-rpmb test-frontends test-leakage test-full test-release

"""`tzml tune --lg-env` times kernels on the board. Here they are those of the digits' network."""

from __future__ import annotations

import math

import pytest
from labgrid import Target

from tzml.bench.candidates import measure_with
from tzml.compiler import TARGETS, CompileOptions
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.compiler.tuning.search import tune_model
from tzml_lab.inference.board_kernels import run_on
from tzml_lab.target import Shell
from tzml_zoo import models

pytestmark = pytest.mark.lg_feature(["qemu", "python"])


def test_kernels_are_timed_on_the_target(shell: Shell, target: Target) -> None:
    tuning = Tuning("qemu", "seconds")
    measure = measure_with(run_on(target), TARGETS["qemu"].cc)
    found = tune_model(models()["digits"].onnx(), CompileOptions("qemu"), tuning, measure, trials=1)
    assert sum(kernel.calls for kernel in found) > 4
    assert all(0 < kernel.record.best <= kernel.record.ours < math.inf for kernel in found)

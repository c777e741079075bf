"""The right image is written to the board, and only once."""

from __future__ import annotations

import pytest
from labgrid import Target

from tzml_lab.boards.flashing import MARK
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import image_of
from tzml_lab.target import Shell

pytestmark = pytest.mark.lg_feature("board")


def test_the_board_runs_the_image_that_was_written(
    shell: Shell, strategy: TrustZoneStrategy, target: Target
) -> None:
    image = image_of(target.env.config)
    assert shell.run_check(f"cat {MARK}") == [image.digest]
    assert shell.run_check("uname -r") == [image.description.kernel_release]


def test_it_is_written_once(strategy: TrustZoneStrategy, target: Target) -> None:
    strategy.transition("shell")
    assert strategy.board_image
    before = strategy.board_image.writes
    strategy.transition("off")
    strategy.transition("shell")
    assert strategy.board_image.writes == before <= 1

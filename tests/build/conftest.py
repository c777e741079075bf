"""BitBake's library and this project's part of it, as tests call them without a build."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

LAYER = ROOT / "meta-tzml-debian"
ENGINE = LAYER / "engine"

# bb needs hashserv and prserv of the engine; as in the engine, they come first
sys.path[:0] = [str(ENGINE / "lib"), str(LAYER / "lib")]
_before = logging.getLoggerClass(), logging.LoggerAdapter, logging.raiseExceptions
import bb  # noqa: E402
import bb.cooker  # noqa: E402  and with it all of bb

# bb changes logging for the whole process: not for the other tests
logging.setLoggerClass(_before[0])
logging.LoggerAdapter, logging.raiseExceptions = _before[1:]  # type: ignore[misc]


@pytest.fixture
def d(tmp_path: Path) -> Any:
    """An empty BitBake datastore: d.setVar() gives a test's recipe what it says."""
    datastore = bb.data.init()
    datastore.setVar("TOPDIR", str(tmp_path))
    return datastore


Says = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def one_error(caplog: pytest.LogCaptureFixture) -> Says:
    """`with one_error("a", "b"):` the block ends in one bb.fatal() of one line that has all these words."""

    @contextmanager
    def says(*words: str) -> Iterator[None]:
        caplog.clear()
        with pytest.raises(bb.BBHandledException):
            yield
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1, errors
        assert "\n" not in errors[0]
        assert all(word in errors[0] for word in words), errors[0]

    return says

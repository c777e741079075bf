"""pytest in the lab: environments by name, a folder for each run, and classes of failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from labgrid import Environment, Target

from tzml.errors import TzmlError
from tzml.image import ImageError
from tzml_lab import environment as environments
from tzml_lab.boards import place
from tzml_lab.consoles.record import ConsoleRecord
from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import EnvironmentFile, image_of
from tzml_lab.failures import FailureClass, TargetError, last_lines
from tzml_lab.labgrid_internals import environment_of
from tzml_lab.results.course import CourseRecorder
from tzml_lab.results.failure_log import write_failure
from tzml_lab.results.run_folder import RunFolder, host
from tzml_lab.results.selection import commit_of, selection_of
from tzml_lab.results.timings import Timings
from tzml_lab.session.keep import KeepAfterFailure
from tzml_lab.session.rerun import RerunFailures
from tzml_lab.standin.process import StandIn, stand_in_for
from tzml_lab.target import Commands, Shell, commands_of, shell_of

RUN_FOLDER = pytest.StashKey[RunFolder]()
TIMINGS = pytest.StashKey[Timings]()
FAILURES = pytest.StashKey[dict[str, TargetError]]()
STANDIN = pytest.StashKey[StandIn]()
COURSE = pytest.StashKey[CourseRecorder]()
OWN_JUNIT = pytest.StashKey[bool]()
NOT_RECORDED = pytest.StashKey[str]()

LAB = Path(__file__).resolve().parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tzml lab")
    group.addoption("--results", metavar="FOLDER", type=Path, default=environments.ROOT / "results",
                    help="where the folder of this run is made (default: results/ of the repository)")  # fmt: skip
    group.addoption("--place-wait", metavar="SECONDS", type=float, default=600,
                    help="how long to wait for a place that somebody has (default: 600)")  # fmt: skip
    group.addoption("--xtest", choices=("part", "full"), default="part",
                    help="how much of OP-TEE's regression suite to run (default: some minutes of it)")  # fmt: skip
    group.addoption("--networks", choices=("part", "full"), default="part",
                    help="how many networks larger than secure memory to run (default: one)")  # fmt: skip
    group.addoption("--lg-keep", action="store_true",
                    help="stop at the first failure and keep the machine as it is (tzml lab attach)")  # fmt: skip
    group.addoption("--lg-keep-minutes", metavar="N", type=float, default=60,
                    help="how long to keep it at most (default: 60)")  # fmt: skip
    group.addoption("--lg-rerun", action="store_true",
                    help="run failed tests again at the end, on a machine started anew")  # fmt: skip


@pytest.hookimpl(tryfirst=True)  # labgrid reads the options in its own, which is trylast
def pytest_configure(config: pytest.Config) -> None:
    # A cancelled CI job must not leave a machine behind: treat SIGTERM like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.stash[FAILURES] = {}
    try:
        environments.set_variables()
        name = config.option.lg_env or os.environ.get("LG_ENV")
        if not name:
            return
        _refuse_workers(config)
        file = EnvironmentFile.read(environments.find(name))
        standin = stand_in_for(file)
        if standin:
            config.stash[STANDIN] = standin
            config.add_cleanup(standin.stop)
        file.set_variables()
        _take_place(config, file.options.place)
        file.check_syntax()
    except TzmlError as error:
        raise _end(error) from error
    config.option.lg_env = str(file.path)
    if not config.option.collectonly:
        _make_folder(config, file.path.stem)


def _refuse_workers(config: pytest.Config) -> None:
    """A target is one machine, and each worker of pytest-xdist would start its own run on it."""
    if getattr(config.option, "dist", "no") != "no" or hasattr(config, "workerinput"):
        raise pytest.UsageError(
            "the lab tests one machine, which several processes cannot share: leave out -n (--numprocesses)"
        )


def _make_folder(config: pytest.Config, environment: str) -> None:
    """The folder of this run, with junit.xml in it unless the user wants that elsewhere."""
    try:
        run = config.stash[RUN_FOLDER] = RunFolder.make(config.option.results, environment)
    except TzmlError as error:
        raise _end(error) from error
    config.add_cleanup(run.remove_if_empty)
    config.stash[OWN_JUNIT] = not config.option.xmlpath
    config.option.xmlpath = config.option.xmlpath or str(run.junit)


def _take_place(config: pytest.Config, tags: dict[str, str] | None) -> None:
    """Reserve and lock a board with these tags, if there are any. It is given back at the very end."""
    if not tags:
        return
    if config.option.lg_coordinator:
        os.environ["LG_COORDINATOR"] = config.option.lg_coordinator
    if config.option.collectonly:
        os.environ.setdefault("LG_PLACE", "any")
        return
    try:
        held = place.hold(tags, config.option.place_wait)
    except TzmlError as error:
        status = FailureClass.infrastructure.value
        raise pytest.exit.Exception(f"infrastructure failure: {error}", returncode=status) from error
    if held:
        config.add_cleanup(held.give_back)


def _end(error: TzmlError) -> Exception:
    """The exception that ends a run before it begins, for a user's mistake or a missing image."""
    if isinstance(error, ImageError):
        return pytest.exit.Exception(f"build failure: {error}", returncode=FailureClass.build.value)
    return pytest.UsageError(str(error))


def _ask_person(config: pytest.Config) -> Callable[[str], str]:
    """Ask a person on the terminal to switch the power, although pytest captures output."""

    def ask(question: str) -> str:
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            return input(f"\n{question} ")

    return ask


def pytest_sessionstart(session: pytest.Session) -> None:
    environment = environment_of(session.config)
    if not environment or session.config.option.collectonly:
        return
    try:
        environments.fit_to_image(environment)
        environments.check_host(environment)
    except TzmlError as error:
        raise _end(error) from error
    environment.interact = _ask_person(session.config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The run begins once it is known that there is something to run."""
    config = session.config
    environment = environment_of(config)
    if not environment or config.option.collectonly:
        return
    run = config.stash[RUN_FOLDER]
    broken = session.testsfailed and not config.option.continue_on_collection_errors
    if not session.items and not broken and config.stash[OWN_JUNIT]:
        # pytest's own way to stop writing it: a run without tests leaves nothing behind
        config.pluginmanager.getplugin("junitxml").pytest_unconfigure(config)
    if not session.items or broken:
        return
    context: dict[str, Any] = {
        "environment": Path(environment.config_file).stem,
        "started": run.started,
        "host": host(),
        "selection": selection_of(config, session.items, LAB).model_dump(),
    }
    commit = commit_of(environments.ROOT)
    if commit:
        context["commit"] = commit.model_dump()
    try:
        run.begin()
        environments.use_folders(environment, run_folder=run.path, scratch=run.scratch)
        context |= environments.context(environment, run.path)
    except TzmlError as error:
        raise _end(error) from error
    config.stash[TIMINGS] = Timings(context)
    config.stash[COURSE] = CourseRecorder(len(session.items))
    config.pluginmanager.register(config.stash[COURSE])
    if config.option.lg_rerun:
        config.pluginmanager.register(RerunFailures(lambda: _strategies(config)))
    if config.option.lg_keep:
        minutes = config.option.lg_keep_minutes
        config.pluginmanager.register(KeepAfterFailure(lambda: _strategies(config), run.path, minutes))


@pytest.hookimpl(trylast=True)  # after the target is off and junit.xml is written
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    classes = {failure.kind for failure in config.stash[FAILURES].values()}
    if classes and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
        session.exitstatus = next(kind.value for kind in FailureClass if kind in classes)
    timings = config.stash.get(TIMINGS, None)
    if timings is None:
        return
    run = config.stash[RUN_FOLDER]
    for strategy in _strategies(config):
        strategy.add_times(timings)
    timings.course = config.stash[COURSE].course()
    try:
        timings.write(run.measurements)
        run.finish()
        run.record(Path(config.option.xmlpath))
    except (TzmlError, OSError) as error:
        config.stash[NOT_RECORDED] = str(error)
        session.exitstatus = session.exitstatus or FailureClass.infrastructure.value


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(TIMINGS, None) is None:
        return
    terminalreporter.section("lab", sep="-")
    for name, failure in config.stash[FAILURES].items():
        terminalreporter.line(f"{name}: {failure.summary}", red=True)
    course = config.stash[COURSE].course()
    if not course.complete:
        terminalreporter.line(
            f"interrupted: {course.ended} of {course.selected} tests ended; this run is compared with no other"
        )
    if config.stash.get(NOT_RECORDED, ""):
        terminalreporter.line(f"the results could not be kept: {config.stash[NOT_RECORDED]}", red=True)
    terminalreporter.line(f"results: {os.path.relpath(config.stash[RUN_FOLDER].path)}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need a target if there is none. labgrid would fail on `strategy` without an environment."""
    if not environment_of(item.config) and "env" in getattr(item, "fixturenames", ()):
        pytest.skip("needs a target: give --lg-env")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    for name, value in item.user_properties if call.when == "call" else ():
        # the seconds on the target, not those of looking up the result
        if name == "seconds" and isinstance(value, float):
            report.duration = value
    error = call.excinfo.value if call.excinfo else None
    if call.excinfo and isinstance(error, TargetError):
        # its message says where the target stopped; a traceback of our code would not help
        report.longrepr = call.excinfo.getrepr(style="value", chain=False)
        item.user_properties.append(("failure_class", error.kind.name))
        item.config.stash[FAILURES].setdefault(item.nodeid, error)
    elif report.failed:
        report.sections += [("consoles", last_lines(strategy.record)) for strategy in _strategies(item.config)]
    if report.failed and TIMINGS in item.config.stash:
        _keep_failure(item, report)
    return report


def _keep_failure(item: pytest.Item, report: pytest.TestReport) -> None:
    consoles = "\n".join(text for title, text in report.sections if title == "consoles")
    text = f"{item.nodeid}, {report.when}\n\n{report.longreprtext}\n\n{consoles}"
    log = ("log", write_failure(item.config.stash[RUN_FOLDER].path, item.nodeid, text))
    for properties in (item.user_properties, report.user_properties):  # the former is read before the teardown
        if log not in properties:
            properties.append(log)


def _strategies(config: pytest.Config) -> list[TrustZoneStrategy]:
    """The strategies of the targets in use."""
    environment: Environment | None = environment_of(config)
    targets = environment.targets.values() if environment else []
    return [d for target in targets for d in target.drivers if isinstance(d, TrustZoneStrategy)]


@pytest.fixture(scope="session", autouse=True)
def _always_off_at_the_end(request: pytest.FixtureRequest) -> Iterator[None]:
    """Switch targets off at the end: a board has no process that ends with ours."""
    if environment_of(request.config):
        request.getfixturevalue("env")  # which is closed after this
    yield
    for strategy in _strategies(request.config):
        strategy.finish()


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest, env: Environment) -> Path:
    """The folder for this run's results."""
    return request.config.stash[RUN_FOLDER].path


@pytest.fixture(scope="session")
def timings(request: pytest.FixtureRequest, env: Environment) -> Timings:
    """The measurements for results.json."""
    return request.config.stash[TIMINGS]


@pytest.fixture(scope="session")
def standin(request: pytest.FixtureRequest, env: Environment) -> StandIn:
    """The stand-in board, which can cause faults."""
    return request.config.stash[STANDIN]


@pytest.fixture
def record(strategy: TrustZoneStrategy) -> ConsoleRecord:
    """The record of the consoles."""
    return strategy.record


@pytest.fixture
def shell(target: Target, strategy: TrustZoneStrategy) -> Shell:
    """A shell on the target's console."""
    _needs_console(target)
    strategy.transition("shell")
    return shell_of(target)


@pytest.fixture
def tee(target: Target, strategy: TrustZoneStrategy) -> Shell:
    """A shell on the target's console, with OP-TEE running."""
    _needs_console(target)
    strategy.transition("tee")
    return shell_of(target)


def _needs_console(target: Target) -> None:
    if image_of(target.env.config).description.login.user is None:
        pytest.skip("nobody logs in on the console of this image")


@pytest.fixture(scope="module")
def command(target: Target, strategy: TrustZoneStrategy) -> Commands:
    """The best way to run commands on the target, with OP-TEE running."""
    strategy.transition("tee")
    return commands_of(target)

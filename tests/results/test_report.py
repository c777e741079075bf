from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from results.browser import browse
from results.conftest import CASES, FAILED, MakeRun, run_maker, twelve_nights
from tzml.report.page import ReportSection, render, section_of
from tzml.report.units import human
from tzml.results.run import Run, RunResults, read_run

PASSED = re.sub("(?s)<failure.*</failure>|<property .*class.*/>", "", FAILED)


def plots_of(results: RunResults, caption: str) -> str:
    [svg] = [plot.svg for plot in section_of(results, []).plots if plot.caption.startswith(caption)]
    return svg


def page_of(*runs: RunResults, history: list[Run] | None = None) -> str:
    return render([section_of(run, history or []) for run in runs])


@pytest.fixture(scope="module")
def tonight(tmp_path_factory: pytest.TempPathFactory) -> ReportSection:
    """A run after twelve others: two things changed."""
    make = run_maker(tmp_path_factory.mktemp("results"))
    changes = {"digits/tee/inference": 1.3, "boot/login": 0.5}
    return section_of(make(20, changes), twelve_nights(make))


def test_the_page_needs_nothing_else(tonight: ReportSection) -> None:
    page = render([tonight])
    assert "<script" not in page
    assert "default-src 'none'" in page
    references = re.findall(r"""(?:src|href)=["']([^"']*)""", page) + re.findall(r"url\(([^)]*)\)", page)
    assert references
    assert all(reference.startswith("#") for reference in references), references


def test_every_plot_is_an_image_with_a_caption(tonight: ReportSection) -> None:
    captions = [plot.caption for plot in tonight.plots]
    assert [caption.split(":")[0] for caption in captions] == [
        "Boot stages", "Inference times", "TEE overhead", "Peak secure memory",
        "xtest, OP-TEE's own test suite",
    ]  # fmt: skip
    history = [plot.caption.split(" ")[0] for plot in tonight.history]
    assert history == [
        "digits/ree/inference", "digits/tee/inference", "digits/tee-to-ree", "digits/secure-peak", "boot/login",
        "xtest/part", "xtest",
    ]  # fmt: skip
    for plot in tonight.plots + tonight.history:
        assert ElementTree.fromstring(plot.svg).tag.endswith("svg")


def test_plots_show_the_figures(make_run: MakeRun) -> None:
    boot, inference, overhead, memory, xtest = (plot.svg for plot in section_of(make_run(), []).plots)
    assert ">login</text>" in boot
    assert ">30.0 s</text>" in boot
    assert ">digits, TEE</text>" in inference
    assert ">5.20 ms</text>" in inference
    assert ">1.50 ×</text>" in overhead  # noqa: RUF001
    assert ">552 KiB</text>" in memory
    assert ">1 passed</text>" in xtest
    assert ">regression_1001</text>" in xtest


def test_a_regression_is_on_top(tonight: ReportSection) -> None:
    page = render([tonight])
    assert '<td class="status-regression">regression</td>' in page
    changes = page[page.index("<h3>Changes</h3>") : page.index("<h3>This run</h3>")]
    assert re.findall(r"<tr[^>]*>\s*<td>(.*?)</td>", changes) == ["digits/tee/inference", "boot/login"]
    assert changes.count('<tr class="regression">') == 1


def test_a_failed_run_says_which_tests_and_whose_problem(make_run: MakeRun) -> None:
    page = page_of(make_run(cases=CASES + FAILED))
    assert '<td class="status-failed">failed</td>' in page
    assert re.search(r"test_linux_finds_optee</td><td>boot</td><td>boot failure: no login prompt</td>", page)


def test_the_raspberry_pi_keeps_no_secrets_and_the_page_says_so(make_run: MakeRun) -> None:
    warning = "nothing protects OP-TEE&#39;s memory from the normal world"
    assert warning in page_of(make_run())
    image = {"machine": "qemu", "feed": "debian", "image": "tzml-image", "sha256": "0" * 64}
    assert warning not in page_of(make_run(image=image))


def night(make_run: MakeRun, number: int, failed: bool = False, **about: Any) -> RunResults:
    commit = {"id": f"{number:040x}", "subject": f"Change <{number}>", "changed": False}
    image = {"machine": "rpi3", "feed": "debian", "image": "tzml-image", "sha256": "0" * 64,
             "components": {"linux": "6.12"}, "packages": {"bash": f"5.2.{number}", "dash": "0.5"}}  # fmt: skip
    cases = CASES + (FAILED if failed else PASSED)
    return make_run(number, cases=cases, ended=3, commit=commit, image=image, **about)


def text_of(page: str, title: str) -> str:
    """The words between that heading and the next."""
    part = page.partition(f"<h3>{title}")[2].partition("<h3>")[0]
    return " ".join(re.sub("<[^>]*>", " ", part).split())


def test_it_says_what_changed_since_the_last_good_run(make_run: MakeRun) -> None:
    history = [night(make_run, number, failed=number in (3, 4)).run for number in range(5)]
    changed = text_of(page_of(night(make_run, 5, failed=True), history=history), "Changed since the last good run")
    assert changed.startswith(", night2-rpi3 commit 0000000000 Change &lt;2&gt; → 0000000000 Change &lt;5&gt;")
    assert "packages bash 5.2.2 → 5.2.5" in changed
    assert "dash" not in changed
    assert "linux" not in changed
    host = {"machine": "x86_64", "cpu": "Epyc", "cpus": 4, "system": "Linux"}
    changed = text_of(page_of(night(make_run, 5, host=host), history=history), "Changed since the last good run")
    assert "host cpus 2 → 4" in changed


def test_without_a_good_run_it_says_so(make_run: MakeRun) -> None:
    history = [night(make_run, 0, failed=True).run]
    page = page_of(night(make_run, 1), history=history)
    assert text_of(page, "Changed since the last run (there was no good one)")


@pytest.mark.parametrize(
    ("failed", "says"),
    [
        ([], "this run"),
        ([3, 4], "4 Nov 2026"),
        ([0, 1, 2, 3, 4], "1 Nov 2026"),
        ([1, 3, 4], "4 Nov 2026 flaky : failed in 4 of the last 6 runs"),
    ],
)
def test_it_says_since_when_a_test_fails(make_run: MakeRun, failed: list[int], says: str) -> None:
    history = [night(make_run, number, failed=number in failed).run for number in range(5)]
    failures = text_of(page_of(night(make_run, 5, failed=True), history=history), "Failures")
    assert failures.endswith(f"boot failure: no login prompt {says}")


def test_a_test_that_was_skipped_has_not_passed(make_run: MakeRun) -> None:
    skipped = (
        '<testcase classname="lab.test_boot" name="test_linux_finds_optee"><skipped message="no boot"/></testcase>'
    )
    history = [night(make_run, number, failed=number == 3).run for number in range(4)]
    history.append(make_run(4, cases=CASES + skipped, ended=3).run)
    assert text_of(page_of(night(make_run, 5, failed=True), history=history), "Failures").endswith("4 Nov 2026")


def test_a_test_that_fails_now_and_then_is_flaky_also_when_it_passes(make_run: MakeRun) -> None:
    history = [night(make_run, number, failed=number == 3).run for number in range(5)]
    page = page_of(night(make_run, 5), history=history)
    flaky = text_of(page, "Flaky tests that did not fail in this run")
    assert flaky.endswith("test_linux_finds_optee in 1 of the last 6 runs")
    assert "Flaky tests" not in page_of(night(make_run, 6), history=history[:3])


def test_a_failure_that_passes_when_run_again_is_flaky(make_run: MakeRun) -> None:
    again = PASSED.replace("<properties>", '<properties><property name="rerun" value="1"/>')
    results = make_run(cases=CASES + FAILED + again)
    assert results.run.tests.failed == 1  # nothing hides it
    assert [case.rerun for case in results.run.failures] == ["passed"]
    failures = text_of(page_of(results), "Failures")
    assert failures.endswith("flaky passed when run again")


def test_a_failure_has_its_log_and_last_lines(make_run: MakeRun, tmp_path: Path) -> None:
    cases = FAILED.replace("<properties>", '<properties><property name="log" value="failures/a b.txt"/>')
    folder = make_run(cases=cases).folder
    (folder / "failures").mkdir()
    (folder / "failures" / "a b.txt").write_text("".join(f"line {number}\n" for number in range(100)) + "<last>\n")
    (folder / "consoles.log").write_text("# power-on 1\n")
    page = render([section_of(read_run(folder), [], tmp_path)])
    assert 'href="results/night0-rpi3/failures/a%20b.txt"' in page
    assert 'href="results/night0-rpi3/consoles.log"' in page
    lines = page.partition("<pre>")[2].partition("</pre>")[0].splitlines()
    assert (len(lines), lines[0], lines[-1]) == (40, "line 61", "&lt;last&gt;")


def test_a_log_is_only_taken_from_the_runs_folder(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not for the report\n")
    for name in (str(tmp_path / "secret"), "../../secret"):
        cases = FAILED.replace("<properties>", f'<properties><property name="log" value="{name}"/>')
        assert "not for the report" not in page_of(make_run(cases=cases))


def test_reasons_of_skips_duration_load_and_selection_are_shown(make_run: MakeRun) -> None:
    page = page_of(make_run(ended=3, selection={"paths": ["test_boot.py"]}))
    said = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "CFG_LOCKDEP=n 1 lab.test_xtest::test_case[regression_1015]" in said
    assert "took 15 min 0 s for 3 of 3 tests" in said
    assert "load of the host 0.5 at the start, 2.5 at the end, on 2 CPUs" in said
    assert "selection test_boot.py" in said
    assert ">interrupted<" not in page
    page = page_of(make_run(ended=2))
    assert '<td class="status-interrupted">interrupted</td>' in page


def test_the_medians_figure_stands_at_the_median(make_run: MakeRun) -> None:
    """Of each box the figure is above the line that marks the median."""
    svg = plots_of(make_run(), "Inference times")
    medians = re.findall(r'<path d="M (\S+) \S+ \nL \1 [^>]*stroke: #000000"/>', svg)
    for shown in ("5.20 ms", "3.40 ms"):
        figure = re.search(rf'text-anchor: middle" x="(\S+)"[^>]*>{shown}</text>', svg)
        assert figure
        assert figure[1] in medians


def test_it_says_what_changed_in_the_image(tonight: ReportSection) -> None:
    assert "linux 6.12.11 → 6.12.20" in render([tonight])


def test_names_from_the_target_stay_text(make_run: MakeRun) -> None:
    evil = '<testcase classname="a" name="&lt;script&gt;x&lt;/script&gt;"><failure message="&lt;img src=x&gt;"/>'
    results = make_run(cases=CASES + evil + "</testcase>")
    model = results.run.series["digits/tee/inference"]
    results.run.series["<b>$x$/tee/inference"] = model
    page = page_of(results)
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>$x$" not in page
    assert "&lt;b&gt;$x$, TEE</text>" in page


def test_a_run_that_measured_nothing_has_a_page(make_run: MakeRun) -> None:
    nothing = dict.fromkeys(make_run().run.series)
    assert "Nothing was measured." in page_of(make_run(1, nothing, cases=""))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.0052, "s", "5.20 ms"), (29.04, "s", "29.0 s"), (123.4, "s", "123 s"), (0, "s", "0.00 s"),
     (5e-7, "s", "0.50 µs"), (565248, "bytes", "552 KiB"), (100, "bytes", "100 bytes"), (1.5, "ratio", "1.50 ×")],  # noqa: RUF001
)  # fmt: skip
def test_figures_have_three_digits(value: float, unit: str, text: str) -> None:
    assert human(value, unit) == text


def measured(done: subprocess.CompletedProcess[str]) -> Any:
    """What the script of look.html found. Raises AssertionError, with what the browser said, without it."""
    text = re.search(r"<pre>(.+)</pre>", done.stdout)
    assert text, f"the page did not load; {done.args[0]} said:\n{done.stderr}\nand showed:\n{done.stdout}"
    return json.loads(text[1])


def test_a_page_that_does_not_load_fails_with_what_the_browser_said(tmp_path: Path) -> None:
    (tmp_path / "look.html").write_text(
        "<pre></pre><script>onload = () => { throw Error('no report here'); }</script>"
    )
    with pytest.raises(AssertionError, match=r"(?s)the page did not load; .*chrom.* said:.*no report here"):
        measured(browse(tmp_path / "look.html", tmp_path / "profile", "--dump-dom"))


def test_a_browser_that_does_not_start_fails_with_what_it_said(tmp_path: Path) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\necho 'cannot open display' >&2\nexit 5\n")
    browser.chmod(0o755)
    with pytest.raises(AssertionError, match="ended with 5:\ncannot open display"):
        browse(tmp_path / "look.html", tmp_path / "profile", browser=str(browser))


def test_a_browser_lays_the_page_out(tonight: ReportSection, make_run: MakeRun, tmp_path: Path) -> None:
    """No figure is wider than the page, empty, or cut off; nothing is refused by the page's own policy."""
    page = tmp_path / "report.html"
    page.write_text(render([tonight, section_of(make_run(board="hikey", cases=CASES + FAILED), [])]))
    # the page has no scripts: look at it from a frame's parent
    (tmp_path / "look.html").write_text("""<iframe src="report.html" width=1000 height=800></iframe><pre></pre>
        <script>onload = () => {
            const inner = document.querySelector("iframe").contentDocument;
            if (!inner) throw Error("the report did not load");
            const figures = [...inner.querySelectorAll("figure")].map(figure => {
                const outer = figure.querySelector("svg").getBoundingClientRect();
                const texts = [...figure.querySelectorAll("svg text")].map(text => text.getBoundingClientRect());
                return [outer.width > 100 && outer.height > 50 && outer.right <= 1000, texts.length > 3,
                    texts.every(text => text.left >= outer.left - 2 && text.right <= outer.right + 2)];
            });
            document.querySelector("pre").textContent = JSON.stringify({
                title: inner.title, scroll: inner.documentElement.scrollWidth <= 1000, figures});
        }</script>""")
    done = browse(tmp_path / "look.html", tmp_path / "profile", "--dump-dom")
    found = measured(done)
    assert found["title"] == "tzml report"
    assert found["scroll"]
    assert len(found["figures"]) > 10
    assert all(all(checks) for checks in found["figures"]), found
    assert "Content Security Policy" not in done.stderr

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
from tzml.report.page import Section, render, section_of
from tzml.report.units import human
from tzml.results.run import Run, RunResults


def page_of(*runs: RunResults, history: list[Run] | None = None) -> str:
    return render([section_of(run, history or []) for run in runs])


@pytest.fixture(scope="module")
def tonight(tmp_path_factory: pytest.TempPathFactory) -> Section:
    """A run after twelve others: two things changed."""
    make = run_maker(tmp_path_factory.mktemp("results"))
    changes = {"digits/tee/inference": 1.3, "boot/login": 0.5}
    return section_of(make(20, changes), twelve_nights(make))


def test_the_page_needs_nothing_else(tonight: Section) -> None:
    page = render([tonight])
    assert "<script" not in page
    assert "default-src 'none'" in page
    references = re.findall(r"""(?:src|href)=["']([^"']*)""", page) + re.findall(r"url\(([^)]*)\)", page)
    assert references
    assert all(reference.startswith("#") for reference in references), references


def test_every_plot_is_an_image_with_a_caption(tonight: Section) -> None:
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


def test_a_regression_is_on_top(tonight: Section) -> None:
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


def test_it_says_what_changed_in_the_image(tonight: Section) -> None:
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


def test_a_browser_lays_the_page_out(tonight: Section, make_run: MakeRun, tmp_path: Path) -> None:
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

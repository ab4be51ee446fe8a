"""The report in a real browser, driven through Chromium's debugging pipe: no driver, no network."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ssl_zoo.analysis.compare import write_comparison
from ssl_zoo.analysis.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
]
WIDTHS = (360, 820, 1440)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]
NASTY = '<img src=x onerror="document.title=1">'


class Browser:
    """One tab; `send` calls a command of the DevTools protocol, `events` keeps what the tab told meanwhile."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        read, self._out = os.pipe()
        self._in, write = os.pipe()
        to_browser, from_browser = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write))
        os.close(read)
        os.close(write)
        self._process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
            preexec_fn=lambda: (os.dup2(to_browser, 3), os.dup2(from_browser, 4)),  # where Chromium looks for them
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._number, self.session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + 90
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            told = os.read(self._in, 1 << 20)
            assert told, "the browser has ended"
            self._rest += told
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def open(self, page: Path, width: int, height: int = 900) -> None:
        self.events.clear()
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Page.navigate", url=page.as_uri())
        for _ in range(300):
            if self.run("document.readyState") == "complete":
                break
            time.sleep(0.1)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def told(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") in methods]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._out)
        os.close(self._in)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(fake_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The report of a run whose class is called `<img ... onerror>`, and a comparison of two."""
    folder = tmp_path_factory.mktemp("runs")
    skill = {"random": 0.0, "byol": 0.9, "simclr": 0.8, "moco": 0.6, "vicreg": 0.7, "dino": 0.3, "=1+1": 0.2}
    few = {"skill": skill, "fractions": (0.05, 1.0), "seeds": (0,), "modes": ("linear",), "patients": 12}
    runs = [fake_run(folder, name=name, classes=("4CH", "3VV", NASTY), **few) for name in ("one", "two")]
    timelines = runs[0] / "figures" / "timelines" / "byol linear"
    timelines.mkdir(parents=True)
    Image.new("RGB", (1000, 640), "grey").save(timelines / "S001-1.png")
    (timelines / "truth.json").write_text(json.dumps({"frame_f1": 0.4321, "abstention_auroc": None}))
    report = write_report(runs[0], replicates=50)
    return [report, write_comparison(runs, folder / "both.html", replicates=50)]


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_nothing_is_fetched_and_nothing_is_complained_of(
    browser: Browser, pages: list[Path], width: int
) -> None:
    for page in pages:
        browser.open(page, width)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        outside = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, dialog, pre, .skip'))
            .filter(e => { const b = e.getBoundingClientRect(); 
                return b.width && (b.right > innerWidth + 1 || b.left < -1) })
            .map(e => e.outerHTML.slice(0, 80))"""
        assert browser.run(outside) == []
        asked = [event["request"]["url"] for event in browser.told("Network.requestWillBeSent")]
        assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
        assert not browser.told("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        assert "report" in browser.run("document.title")  # no text from a table has run


TABLE = "document.querySelector('[data-name=\"Areas, internal\"]')"


def test_a_table_sorts_by_click_and_filters_by_words(browser: Browser, pages: list[Path]) -> None:
    browser.open(pages[0], 820)
    column = f"[...{TABLE}.querySelectorAll('tbody tr')].map(r => parseFloat(r.cells[2].textContent))"
    before = browser.run(column)
    browser.run(f"{TABLE}.querySelectorAll('th button')[2].click()")
    assert browser.run(column) == sorted(before, reverse=True) != before
    assert browser.run(f"{TABLE}.querySelectorAll('th')[2].getAttribute('aria-sort')") == "descending"
    browser.run(f"{TABLE}.querySelectorAll('th button')[2].click()")
    assert browser.run(column) == sorted(before)
    browser.run(f"{{const i = {TABLE}.querySelector('input'); i.value = 'byol'; i.dispatchEvent(new Event('input'))}}")
    shown = browser.run(
        f"[...{TABLE}.querySelectorAll('tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].innerText)"
    )
    assert shown == ["BYOL"]
    assert browser.run(f"{TABLE}.querySelector('[role=status]').textContent") == f"1 of {len(before)} rows"


def test_a_figure_enlarges_and_closes_by_keyboard_and_focus_returns(browser: Browser, pages: list[Path]) -> None:
    browser.open(pages[0], 820)
    zoom = "document.querySelector('figure[data-name=label_efficiency] .zoom')"
    browser.run(f"{zoom}.focus()")
    browser.press("Enter", 13, "\r")
    assert browser.run("document.getElementById('large').open")
    assert browser.run("document.activeElement.textContent") == "Close"
    browser.press("Escape", 27)
    assert not browser.run("document.getElementById('large').open")
    assert browser.run(f"document.activeElement === {zoom}")


def test_on_a_phone_a_figure_has_a_button_that_enlarges_it(browser: Browser, pages: list[Path]) -> None:
    tap = "document.querySelector('figure[data-name=label_efficiency] .tap')"
    browser.open(pages[0], 820)
    assert browser.run(f"{tap}.offsetHeight") == 0
    browser.open(pages[0], 360)
    assert browser.run(f"{tap}.offsetHeight") >= 30
    browser.run(f"{tap}.click()")
    assert browser.run("document.getElementById('large').open")


def test_timelines_of_scans_stand_in_the_page_with_what_they_are_worth(browser: Browser, pages: list[Path]) -> None:
    browser.open(pages[0], 820)
    section = "document.getElementById('timelines')"
    assert "byol linear / S001-1" in browser.run(f"{section}.textContent")
    assert browser.run(f"{section}.querySelector('img').naturalWidth") == 1000
    cells = browser.run(f"[...{section}.querySelectorAll('tbody td')].map(cell => cell.textContent)")
    assert cells[:2] == ["byol linear", "0.43"]
    assert set(cells[2:]) == {"–"}


def test_names_stay_in_sight_while_a_wide_table_is_scrolled(browser: Browser, pages: list[Path]) -> None:
    browser.open(pages[0], 360)
    browser.run(f"{TABLE}.querySelector('.scroll').scrollLeft = 200")
    at = f"{TABLE}.querySelector('tbody td').getBoundingClientRect().left"
    assert browser.run(f"{TABLE}.querySelector('.scroll').scrollLeft") > 100
    assert browser.run(f"{at} >= {TABLE}.getBoundingClientRect().left - 1")
    heights = "[...document.querySelectorAll('.scroll tbody td:first-child')].map(cell => cell.offsetHeight)"
    for page in pages:
        browser.open(page, 360)
        assert browser.run(f"Math.max(...{heights})") < 80  # no name stands letter by letter in a narrow column


def test_what_is_saved_comes_from_the_page_and_is_no_formula(browser: Browser, pages: list[Path]) -> None:
    browser.open(pages[0], 820)
    browser.run("""{window.kept = []; URL.createObjectURL = blob => { window.kept.push(blob); return 'data:,' };
        HTMLAnchorElement.prototype.click = function () {
            window.kept.push([this.download, this.href.slice(0, 22)]) }}""")
    browser.run(f"{TABLE}.querySelectorAll('.tools button')[0].click()")
    text = browser.run("window.kept[0].text()")
    assert text.startswith('init,backbone,"Linear probe')
    assert "\r\n'=1+1," in text
    saved = "[...document.querySelectorAll('figure[data-name=label_efficiency] figcaption + .tools button:not(.tap)')]"
    assert browser.run(f"{saved}.map(b => b.textContent)") == ["SVG", "CSV"]
    browser.run(f"{saved}.forEach(b => b.click())")
    assert ["label_efficiency.svg", "data:image/svg+xml;base"[:22]] in browser.run("window.kept.filter(Array.isArray)")
    scores = browser.run("window.kept[3].text ? window.kept[3].text() : window.kept[2].text()")
    assert scores == (pages[0].parent / "figures" / "scores.csv").read_text()


def test_in_print_every_section_is_open_and_no_figure_is_cut(browser: Browser, pages: list[Path]) -> None:
    browser.open(pages[0], 794)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("[...document.querySelectorAll('details')].every(d => d.open)")
    browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.run("[...document.querySelectorAll('.tools, nav')].every(e => !e.offsetHeight)")
        tallest = browser.run("Math.max(...[...document.querySelectorAll('figure img')].map(i => i.offsetHeight))")
        assert tallest <= 215 / 25.4 * 96 + 1  # 215 mm of a page of 297
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert not browser.run("[...document.querySelectorAll('details')].some(d => d.open)")

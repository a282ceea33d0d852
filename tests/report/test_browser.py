"""The pages in a real browser: no errors in its console, and as wide as the window. Needs Chromium."""

import re
import shutil
import subprocess

import pytest

from dcdp_jax.report.compare import write_comparison
from dcdp_jax.report.html import write_report
from tests.e2e.running import WAIT_SECONDS
from tests.report.making import write_everything
from tests.report.test_report import make_workdir

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium and no Google Chrome on this machine"),
]
NAMES = ["lying", "sitting", "standing", "walking", "ascending_stairs", "descending_stairs", "vacuum_cleaning"]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
)
# Chromium's own window is never narrower than 500 pixels; a frame is.
FRAME = """<title>nothing measured</title>
<script>onmessage = event => { document.title = event.data.join(" ") }</script>
<iframe src="measured.html" width="WIDTH" height="800" style="border: 0"></iframe>"""
MEASURE = "<script>parent.postMessage([innerWidth, document.documentElement.scrollWidth], '*')</script></body>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    runs = [make_workdir(folder / name, NAMES) for name in ("run", "another_run_with_a_long_name")]
    for run in runs:
        write_everything(run)
    return {"report": write_report(runs[0]), "compare": write_comparison(runs, folder / "compare")}


def browse(page, tmp_path, *flags):
    """What Chromium prints on its standard output, and its console."""
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'user'}", *flags, page.as_uri()]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, [line for line in finished.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("name", ["report", "compare"])
def test_the_console_is_empty(name, pages, tmp_path):
    picture = tmp_path / "page.png"
    _, console = browse(pages[name], tmp_path, "--window-size=1200,3000", f"--screenshot={picture}")
    assert console == []
    assert picture.stat().st_size > 10_000


def test_an_error_in_the_console_would_be_noticed(pages, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(pages["report"].read_text().replace("</body>", "<script>1</script></body>"))
    _, console = browse(page, tmp_path, "--window-size=1200,3000", "--dump-dom")
    assert "Content Security Policy" in console[0]


def widths(page, width, tmp_path, addition=""):
    """(width of the window, width of the page) in pixels, by a script in a copy that allows scripts."""
    text = page.read_text(encoding="utf-8")
    allowed = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    assert allowed != text
    measured = tmp_path / "measured.html"
    measured.write_text(allowed.replace("</body>", addition + MEASURE), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    shown, _ = browse(frame, tmp_path, f"--window-size={width + 100},1000", "--virtual-time-budget=5000", "--dump-dom")
    title = re.search("<title>([^<]*)</title>", shown)[1]
    return tuple(map(int, title.split()))


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("name", ["report", "compare"])
def test_the_page_is_not_wider_than_the_window(name, width, pages, tmp_path):
    window, page = widths(pages[name], width, tmp_path)
    assert window == width
    assert page <= width


def test_a_page_that_is_too_wide_would_be_noticed(pages, tmp_path):
    assert widths(pages["report"], 390, tmp_path, '<div style="width: 500px">wide</div>') == (390, 500)

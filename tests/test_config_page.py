"""docs/config.md lists every field of the table of fields, and says something about each."""

import runpy
from pathlib import Path

from configs import default
from configs.studies import default as studies
from dcdp_jax.config import as_plain_data, flatten

DOCS = Path(__file__).parents[1] / "docs"


def test_page_is_up_to_date_and_complete():
    page = (DOCS / "config.md").read_text()
    assert page == runpy.run_path(str(DOCS / "make_config_page.py"))["page"](), "run python docs/make_config_page.py"
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    configs = (as_plain_data(default.get_config()), {"study": as_plain_data(studies.get_config().study)})
    assert [row[0].strip("| `") for row in rows] == [field for config in configs for field, _ in flatten(config)]
    assert not [row[0] for row in rows if len(row) < 4 or not all(cell.strip("| ") for cell in row)]

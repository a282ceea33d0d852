"""docs/config.md is what configs/default.py says, and says something about every field."""

import runpy
from pathlib import Path

from configs.default import get_config
from dcdp_jax.config import as_plain_data, flatten

DOCS = Path(__file__).parents[1] / "docs"


def test_page_is_up_to_date_and_complete():
    page = (DOCS / "config.md").read_text()
    assert page == runpy.run_path(str(DOCS / "make_config_page.py"))["page"](), "run python docs/make_config_page.py"
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == [field for field, _ in flatten(as_plain_data(get_config()))]
    assert not [row[0] for row in rows if len(row) < 3 or not row[2].strip("| ")]

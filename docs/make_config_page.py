"""Writes docs/config.md from configs/default.py: `python docs/make_config_page.py`; a test compares the two."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "config.md"
INTRODUCTION = """# Every config field

Made from [configs/default.py](../configs/default.py) by `python docs/make_config_page.py`. A field is set as
`--config.FIELD=VALUE` behind `--config=FILE`; the configs of data sets change what differs. Text in `()` is a tuple:
`"--config.data.channels=('acc',)"`.

"""
FIELD = re.compile(r"    config\.([\w.]+) = (.*?)(?:  # (.*))?")


def page() -> str:
    """The whole page: a table per section, in the order of the file."""
    sections: dict[str, list[str]] = {}
    notes: list[str] = []
    for line in (ROOT / "configs" / "default.py").read_text().splitlines():
        if line.strip().startswith("# "):
            notes.append(line.strip()[2:])
        elif found := FIELD.fullmatch(line):
            field, value, comment = found.groups()
            if value != "ConfigDict()":
                notes.append(comment or "")
                meaning = " ".join(filter(None, notes))
                section = field.rpartition(".")[0] or "run"
                sections.setdefault(section, []).append(
                    f"| `{field}` | `{value}` | {meaning.replace('|', chr(92) + '|')} |"
                )
                notes = []
            elif comment:
                notes.append(f"({comment.capitalize()}.)")
        else:
            notes = []
    tables = [
        f"## {section}\n\n| field | default | meaning |\n|---|---|---|\n" + "\n".join(rows)
        for section, rows in sections.items()
    ]
    return INTRODUCTION + "\n\n".join(tables) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)

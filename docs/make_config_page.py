"""Writes docs/config.md from the table of fields: `python docs/make_config_page.py`; a test compares the two."""

from pathlib import Path

from dcdp_jax.fields import FIELDS, SECTIONS, STUDY_FIELDS, allowed

PAGE = Path(__file__).with_name("config.md")
INTRODUCTION = """# Config fields

Generated from the table in [dcdp_jax/fields.py](../dcdp_jax/fields.py) by `python docs/make_config_page.py`. A field is
set as `--config.FIELD=VALUE` after `--config=FILE`; the configs of data sets override some defaults. A tuple is written
as in Python: `"--config.data.channels=('acc',)"`. Some fields are read only with certain values of others, as
`optimizer.weight_decay` with `optimizer.name=adamw`. If such a field differs from its default and is not read, training
prints `note: optimizer.weight_decay=0.1 is not used with optimizer.name='sgd'`, which `notes` in `result.json` has too.

"""


def page() -> str:
    """Returns the whole page: a table per section, in the order of the fields."""
    tables = []
    for section, note in SECTIONS.items():
        rows = [
            f"| `{field.name}` | `{show(field.default)}` | {allowed(field)} | {field.doc} |"
            for field in (*FIELDS, *STUDY_FIELDS)
            if field.name.rpartition(".")[0] == section
        ]
        head = "| field | default | allowed | meaning |\n|---|---|---|---|\n"
        tables.append(f"## {section or 'run'}\n\n" + (f"{note}\n\n" if note else "") + head + "\n".join(rows))
    return INTRODUCTION + "\n\n".join(tables) + "\n"


def show(value: object) -> str:
    """Returns a default as it is written in Python, with double quotes."""
    return repr(value).replace("'", '"')


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)

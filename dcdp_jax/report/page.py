"""Renders the pages from the templates in `templates/`. A page refers to no other file."""

import json
import pathlib
from typing import Any

import jinja2

from dcdp_jax.runs.files import write_atomically


def write_page(path: pathlib.Path, **values: Any) -> pathlib.Path:
    """Renders the template of a page, `NAME.html.j2` for `NAME.html`, writes it atomically and returns its path.

    The template escapes all text.
    """
    page = ENVIRONMENT.get_template(f"{path.name}.j2").render(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def text(value: object) -> str:
    """Formats any JSON value: strings unchanged, n/a for null, JSON for all others."""
    if value is None:
        return "n/a"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(value: float | None, pattern: str) -> str:
    """Formats a number by a pattern such as `{:.2f}`; n/a for None."""
    return text(None) if value is None else pattern.format(value)


def percent(value: float | None) -> str:
    """Formats a share from 0 to 1 in per cent with two decimals; n/a for None."""
    return number(None if value is None else 100 * value, "{:.2f}")


def signed(value: float | None) -> str:
    """Formats a difference of shares in percentage points with its sign; n/a for None."""
    return number(None if value is None else 100 * value, "{:+.2f}").replace("-", "\N{MINUS SIGN}")


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("dcdp_jax.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {"text": text, "number": number, "percent": percent}

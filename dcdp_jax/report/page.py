"""Renders the pages: values from Python, markup from `templates/`; a page refers to no other file."""

import json
import pathlib
from typing import Any

import jinja2

from dcdp_jax.runs.files import write_atomically


def write_page(path: pathlib.Path, **values: Any) -> pathlib.Path:
    """Renders the template of a page, `NAME.html.j2` for `NAME.html`, writes it atomically and returns its path.

    The template escapes every text among the values.
    """
    page = ENVIRONMENT.get_template(f"{path.name}.j2").render(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode("utf-8", "replace"))
    return path


def text(value: object) -> str:
    """Writes any JSON value for a reader: strings as they are, n/a for null, JSON for the rest."""
    if value is None:
        return "n/a"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(value: float | None, pattern: str) -> str:
    """Writes a number by a format pattern, or n/a where there is none."""
    return text(None) if value is None else pattern.format(value)


def percent(value: float | None) -> str:
    """Writes a share of one in per cent with two decimals, or n/a where there is none."""
    return number(None if value is None else 100 * value, "{:.2f}")


def signed(value: float | None) -> str:
    """Writes a difference of shares in points with its sign, or n/a where there is none."""
    return number(None if value is None else 100 * value, "{:+.2f}").replace("-", "\N{MINUS SIGN}")


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("dcdp_jax.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {"text": text, "number": number, "percent": percent}

"""Names of people, recordings and classes: one spelling for every file format."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from dcdp_jax.errors import DataError

WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0*")


def clean_name(cell: object) -> str:
    """Returns a cell as a name: no blanks around it, whole numbers without a decimal point, '' where it is missing.

    >>> [clean_name(cell) for cell in (1, 1.0, "1.0", " anna ", None, float("nan"))]
    ['1', '1', '1', 'anna', '', '']
    """
    if cell is None or cell is pd.NaT or cell is pd.NA or cell != cell:
        return ""
    if isinstance(cell, float | np.floating):
        return f"{cell:.0f}" if float(cell).is_integer() else str(cell)
    text = unicodedata.normalize("NFC", str(cell)).strip()
    whole = WHOLE_NUMBER.fullmatch(text)
    return whole[1] if whole else text


def clean_names(column: pd.Series) -> pd.Series:
    """Applies `clean_name` to every cell, computing it once for each distinct cell."""
    codes, distinct = pd.factorize(column.astype(object))
    names = pd.Series([*map(clean_name, distinct), ""], dtype=object)
    return pd.Series(names.to_numpy()[codes], index=column.index, dtype=object)  # the code of a missing cell is -1


def path_name(path: Path, folder: Path | None) -> str:
    """Returns the path of a file below a folder without its suffix, as 'dws_1/sub_1'; elsewhere its stem."""
    below = path.relative_to(folder) if folder and path.is_relative_to(folder) else Path(path.name)
    return unicodedata.normalize("NFC", (below.parent / stem(path)).as_posix())


def stem(path: Path) -> str:
    """Returns the name of a file without its suffix, and without '.gz' after that.

    >>> stem(Path("day1.csv.gz"))
    'day1'
    """
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def spelling(name: str) -> str:
    """Returns a cleaned name without the differences that are easily mistyped, or cannot be seen.

    These are case, blanks, underscores that are not between digits, characters without a shape (a zero-width space),
    leading zeros and a trailing '.0'.
    """
    seen = "".join(
        letter for letter in unicodedata.normalize("NFC", name).casefold() if unicodedata.category(letter) != "Cf"
    )
    bare = re.sub(r"\s|(?<!\d)_|_(?!\d)", "", seen)
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"\.0+$", "", bare))


def check_alike(names: Iterable[str], what: str) -> None:
    """Raises DataError if two different cleaned names have the same `spelling`."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(spelling(name), name)
        if other != name:
            raise DataError(
                f"{what}: {other!r} and {name!r} differ only in case, blanks, underscores, invisible characters, zeros "
                f"in front or a trailing .0; write what is the same in the same way, and name what is not differently"
            )

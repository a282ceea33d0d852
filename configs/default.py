"""The default of every field: DCDP-HAR as in the paper. The configs of data sets import this and change some fields.

The fields are declared in `dcdp_jax/fields.py`; `docs/config.md` lists them with their allowed values and meaning.
"""

from dcdp_jax.fields import FIELDS, make_config


def get_config():
    return make_config(FIELDS)

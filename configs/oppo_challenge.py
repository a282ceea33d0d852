"""OPPORTUNITY, 18 classes with null, as in the challenge.

`python launch.py --config=configs/oppo_challenge.py [--config.data.raw_dir=FOLDER]`.

The literature's 9,894 test windows come from 118,750 rows, the four test files end to end: five or six windows begin in
one file and end in the next. --config.data.join_recordings=False leaves these out, as with all other data sets, and
cuts windows from each file separately: 9,889 to 9,891.
"""

from dcdp_jax.configs import oppo


def get_config():
    config = oppo.get_config()
    config.data.protocol = "challenge"
    config.data.window = 24
    config.data.step = 12
    config.data.label_rule = "last"
    config.data.join_recordings = True
    return config

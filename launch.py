"""Trains and evaluates: `python launch.py --config=configs/demo.py [--workdir=DIR] [--config.field=value ...]`."""

from dcdp_jax import cli

if __name__ == "__main__":
    cli.run()

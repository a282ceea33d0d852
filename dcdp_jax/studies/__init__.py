"""Studies: a grid of configs, one result each, and the tables and figures made from them."""

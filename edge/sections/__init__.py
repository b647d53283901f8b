"""The tables of the configuration file, which edge/config.py makes one of: each field carries its own description."""

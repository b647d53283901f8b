"""The device: a camera frame becomes exactly one verdict, and the verdict reaches the broker."""

__version__ = "0.1.0"
"""Of the whole distribution; pyproject.toml reads it from here."""

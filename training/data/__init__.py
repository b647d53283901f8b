"""Labelled pictures: reading, checking, dividing, varying."""

"""`edge-inspect doctor`: looks at all that a device stands on, and says of each thing how it is and what mends it."""

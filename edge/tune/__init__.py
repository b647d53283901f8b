"""`edge-inspect tune`: which runtime, with how many threads, judges a bundle fastest on this device."""

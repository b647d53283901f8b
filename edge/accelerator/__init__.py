"""The Edge TPU in a process of its own: a crashing library or a hanging driver ends that process, never the daemon."""

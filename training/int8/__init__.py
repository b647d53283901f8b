"""From the trained network to an int8 model that the device and the Edge TPU run."""

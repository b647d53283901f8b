"""The operator's side: bundles, configurations and the daemon itself, brought to devices and watched there."""

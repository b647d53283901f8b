"""A page on this device only, to set a camera up by: it judges what it shows, and keeps and publishes nothing."""

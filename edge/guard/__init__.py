"""Is this frame fit to be judged? Focus, light, the part, the fixture, a camera that is frozen."""

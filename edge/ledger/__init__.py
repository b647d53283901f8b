"""Every verdict, in order, until the broker has it."""

"""The device: a camera frame becomes exactly one verdict, and the verdict reaches the broker."""

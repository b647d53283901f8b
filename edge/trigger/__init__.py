"""What says that a part is to be judged. Each trigger ends in exactly one verdict about each region."""

"""What `trainer` is made of."""

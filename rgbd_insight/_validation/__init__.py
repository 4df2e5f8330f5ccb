"""What `validate` is made of."""

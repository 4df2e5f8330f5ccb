"""What `features` is made of."""

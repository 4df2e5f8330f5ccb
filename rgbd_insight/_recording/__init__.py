"""What `recorder` is made of."""

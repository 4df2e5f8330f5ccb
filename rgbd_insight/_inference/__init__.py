"""What `stats` is made of."""

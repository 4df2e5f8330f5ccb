"""What `campaign` is made of."""

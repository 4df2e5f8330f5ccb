"""What `dissection` is made of."""

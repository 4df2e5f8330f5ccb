"""What `baselines` is made of."""

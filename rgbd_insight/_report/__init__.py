"""What `report` is made of."""

"""What `cli` is made of: one module a group of commands."""

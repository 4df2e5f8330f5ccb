"""What `questions.claims` is made of."""

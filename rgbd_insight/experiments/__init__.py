"""Campaigns: many runs trained and extracted, their tables made, and the small copies that the book is built on."""

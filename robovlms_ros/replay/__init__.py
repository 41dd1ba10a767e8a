"""Recorded input: bags, and where their camera frames come from."""

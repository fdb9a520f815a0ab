"""Scenarios: what happens to a fleet, and when, as a file."""

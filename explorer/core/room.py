"""How much room the app needs."""

SMALLEST = (40, 12)
"""Columns and lines below which nothing but a request for more room is shown."""

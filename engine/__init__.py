"""Specs, models, data, training, probing and the worker. Knows torch and the store, and no terminal.

Importing this package imports no torch; its modules do, those named in CONTRIBUTING excepted.
"""

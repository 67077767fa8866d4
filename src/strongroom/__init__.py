"""Strongroom: a self-hosted payment service that tokenizes cards, takes payments and proves it."""

__version__ = "0.1.0"

"""Ground floor: money, ids, clock, errors, secret types, canonical JSON. Imports nothing of ours.

The kernel has no single door: its modules are small vocabularies and are imported by name.
"""

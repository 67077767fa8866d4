"""Formats of tokens beyond `tok_…`: digits for systems that know nothing else."""

from strongroom.vault.formats.digits import Alias, fresh_alias, readings
from strongroom.vault.formats.records import TAKEN, add_aliases, find

__all__ = ["TAKEN", "Alias", "add_aliases", "find", "fresh_alias", "readings"]

"""Cards move to another data or index key while the vault works on."""

from strongroom.vault.rotation.flow import CardRotation

__all__ = ["CardRotation"]

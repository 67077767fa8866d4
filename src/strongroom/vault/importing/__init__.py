"""Cards of another vault come in by file: streamed, resumable, each bad line told by its number."""

from strongroom.vault.importing.flow import Importer
from strongroom.vault.importing.model import ImportFiles, ImportState

__all__ = ["ImportFiles", "ImportState", "Importer"]

"""What operators do at the vault's own machine, under dual control: grants, imports, the export."""

from __future__ import annotations

from strongroom.kernel.clock import Clock
from strongroom.keys import Keyring
from strongroom.storage import Committer, Database
from strongroom.vault import errors
from strongroom.vault.formats.export import Exporter
from strongroom.vault.importing import Importer
from strongroom.vault.revealing import Grants


class VaultDesk:
    """Opened by commands, beside the vault and under the same database role."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        keyring: Keyring,
        *,
        clock: Clock,
        ff1_export: bool = False,
    ) -> None:
        self.grants = Grants(database, committer, keyring, clock=clock)
        self.imports = Importer(database, committer, keyring, clock=clock)
        self._exporter = Exporter(database, committer, keyring, clock=clock)
        self._ff1_export = ff1_export

    @property
    def exporter(self) -> Exporter:
        """The FF1 export, if the settings allow it.

        Raises:
            StrongroomError: `export_off`.
        """
        if not self._ff1_export:
            raise errors.export_off()
        return self._exporter

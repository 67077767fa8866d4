"""What is handed out to another process: no secret takes the place of another."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from strongroom.app.handout import hand_out
from strongroom.app.settings import Gateway, Settings
from strongroom.kernel.errors import StrongroomError


@pytest.mark.parametrize("names", [("a/key", "b/key"), ("a/strongroom.toml", "b/key")])
async def test_secrets_of_one_name_are_not_handed_out(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    gateways = tuple(
        Gateway(name=f"g{n}", connector="stripe", base_url="https://g.example", secret_file=name)
        for n, name in enumerate(names)
    )
    house: Any = SimpleNamespace(
        settings=Settings(
            installation=uuid4(), mode="test", gateways=gateways, data_dir=tmp_path / "vault"
        )
    )
    with pytest.raises(StrongroomError, match="handout_refused"):
        await hand_out(
            house,
            "api",
            tmp_path / "api",
            vault="127.0.0.1:7443",
            authority="127.0.0.1:7444",
            actor="test",
        )
    assert not (tmp_path / "api").exists()

"""How a command is told of a root: the provider, and `name=value` as settings name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from strongroom.keys.roots import RootSpec

_Provider = Literal["sealed-file", "pkcs11", "openbao-transit", "aws-kms"]
_HELP = "name=value of the root's table, such as token_label=vault; several times."

Provider = Annotated[
    _Provider, typer.Option("--provider", help="Where the root key lives and stays.")
]
Options = Annotated[list[str] | None, typer.Option("--option", help=_HELP)]
RootProvider = Annotated[
    _Provider | None,
    typer.Option("--root-provider", help="Where the root key lives; a sealed file if not given."),
]
RootOptions = Annotated[list[str] | None, typer.Option("--root-option", help=_HELP)]


def spec_given(provider: str, options: list[str] | None) -> RootSpec:
    """Return the spec that options describe; the files they name hold the secrets."""
    from strongroom.keys.roots import spec_from

    given: dict[str, object] = {"provider": provider}
    for option in options or ():
        name, equals, value = option.partition("=")
        if not equals or not name or name in given:
            raise typer.BadParameter("an option is name=value, each name once.")
        given[name] = value
    return spec_from(given)

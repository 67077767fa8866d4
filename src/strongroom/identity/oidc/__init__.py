"""Sign-in by an OpenID Connect provider: who somebody is there, never what they may do unasked."""

from strongroom.identity.oidc.flow import Oidc
from strongroom.identity.oidc.model import Arrived, Callback, Departure, OidcSpec
from strongroom.identity.oidc.provider import Http

__all__ = ["Arrived", "Callback", "Departure", "Http", "Oidc", "OidcSpec"]

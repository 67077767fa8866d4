"""The key that signs OAuth access tokens: one P-256 key of the installation, with its versions.

Where the vault runs alone it signs for the API's processes, and only access tokens of our form.
"""

from strongroom.keys.token_keys.flow import TokenKeys
from strongroom.keys.token_keys.model import AccessToken, PublicTokenKey

__all__ = ["AccessToken", "PublicTokenKey", "TokenKeys"]

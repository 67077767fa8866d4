"""Every page of the console, in one list; a page that is not in it is not served."""

from strongroom.console.pages.account import PAGES as ACCOUNT
from strongroom.console.pages.approvals import PAGES as APPROVALS
from strongroom.console.pages.invitation import PAGES as INVITATION
from strongroom.console.pages.operators import PAGES as OPERATORS
from strongroom.console.pages.passkeys import PAGES as PASSKEYS
from strongroom.console.pages.sign_in import PAGES as SIGN_IN
from strongroom.console.pages.single_sign_on import PAGES as SINGLE_SIGN_ON

PAGES = (
    *SIGN_IN, *SINGLE_SIGN_ON, *INVITATION, *ACCOUNT, *PASSKEYS, *OPERATORS, *APPROVALS,
)  # fmt: skip

__all__ = ["PAGES"]

"""Operators' web pages: no script but one of ours, no frame, no third party, forms that prove."""

from strongroom.console.app import Console
from strongroom.console.model import ConsoleSettings, Front, Services, Told
from strongroom.console.pages import PAGES

__all__ = ["PAGES", "Console", "ConsoleSettings", "Front", "Services", "Told"]

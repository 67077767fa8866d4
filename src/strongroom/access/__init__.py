"""Who may do what: Cedar policies, decided in this process, denied unless permitted."""

from strongroom.access.actions import ACTIONS, PUBLIC, require_known
from strongroom.access.flow import Authorizer
from strongroom.access.model import Decision, Explanation, Value
from strongroom.access.survey import Place, Survey, survey

__all__ = [
    "ACTIONS",
    "PUBLIC",
    "Authorizer",
    "Decision",
    "Explanation",
    "Place",
    "Survey",
    "Value",
    "require_known",
    "survey",
]

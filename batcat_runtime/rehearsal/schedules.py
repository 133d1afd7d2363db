"""Schedule expressions and time zones of EventBridge Scheduler, accepted as the service does."""

from __future__ import annotations

from zoneinfo import available_timezones

from batcat_runtime.deploy.schedule_expression import check_expression
from batcat_runtime.errors import ConfigError


def is_schedule_expression(expression: str) -> bool:
    """Tell whether EventBridge Scheduler accepts the expression.

    Parameters
    ----------
    expression : str
        Such as ``cron(0 2 * * ? *)``, ``rate(5 minutes)`` or ``at(2022-01-08T02:00:00)``.
    """
    try:
        check_expression(expression)
    except ConfigError:
        return False
    return True


def is_timezone(name: str) -> bool:
    """Tell whether the name is a zone of the IANA data base, such as ``Asia/Shanghai``."""
    return name == "UTC" or name in available_timezones()

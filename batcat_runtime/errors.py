"""What can go wrong, one class per thing that a caller can act on.

Every error says what is wrong and where in its message, and what to do about it in `fix`. The
command line turns a `UserError` into exit code 2 and prints it without a traceback; anything else
is exit code 1. Keep the cause: ``raise SomethingError(...) from error``.
"""

from __future__ import annotations


class BatcatError(Exception):
    """Base of every error that BatCat raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong, and where.
    fix : str, optional
        What the reader can do about it, in the imperative, with an example where one helps.
    """

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        """Return the message, with the fix on a line of its own."""
        return f"{self.message}\n  Fix: {self.fix}" if self.fix else self.message


class UserError(BatcatError):
    """Something that the user gave is wrong; nothing was changed."""

    exit_code = 2


class ConfigError(UserError):
    """`script/config.json` is missing, unreadable or says something impossible."""


class NamingError(UserError):
    """A name cannot be made legal for the AWS service that it is meant for."""


class JobError(BatcatError):
    """A processing job broke its contract: no input, no result, or an impossible parameter."""


class NoSuchObjectError(BatcatError):
    """The S3 bucket or key does not exist."""


class AccessDeniedError(BatcatError):
    """AWS refused the action: the credentials in use may not do it."""


class CredentialsError(BatcatError):
    """There are no AWS credentials, or they have expired."""


class ServiceError(BatcatError):
    """AWS refused a request for another reason; the message carries its error code."""


class DataFormatError(BatcatError):
    """An object is not in the format that its reader was asked for."""


class ImageError(BatcatError):
    """The container image could not be built, pushed or found."""


class StackError(BatcatError):
    """CloudFormation refused or rolled back a stack; the message names resource and reason."""


class WorkflowError(BatcatError):
    """The workflow's definition is wrong, or an execution of it failed."""


class EmbeddedAWSError(BatcatError):
    """The embedded AWS did not start, died, or was asked for something that it does not have."""

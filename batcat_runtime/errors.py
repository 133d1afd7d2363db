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


class UserError(BatcatError, ValueError):
    """Something that the user gave is wrong; nothing was changed. Also a `ValueError`."""

    exit_code = 2


class ConfigError(UserError):
    """`script/config.json` is missing, unreadable or says something impossible."""


class NamingError(UserError):
    """A name cannot be made legal for the AWS service that it is meant for."""


class EventError(BatcatError):
    """An event is not of the kind that its reader was asked for."""


class JobError(BatcatError):
    """A processing job broke its contract: no input, no result, or an impossible parameter."""


class NoSuchObjectError(BatcatError, FileNotFoundError):
    """The S3 key does not exist, or nothing lies under the prefix. Also a `FileNotFoundError`."""


class NoSuchBucketError(NoSuchObjectError):
    """The S3 bucket does not exist."""


class BucketRegionError(UserError):
    """The S3 bucket lies in another region than the project."""


class BucketOwnerError(UserError):
    """The S3 bucket belongs to another account."""


class ObjectChangedError(BatcatError):
    """Someone else changed an S3 object while it was being read, copied or saved."""


class NoSuchResultError(NoSuchObjectError):
    """There is no result yet, or none of the window that was asked for."""


class NoSuchSecretError(BatcatError):
    """Secrets Manager has no such secret in this region."""


class AccessDeniedError(BatcatError, PermissionError):
    """AWS refused the action; names what the credentials in use lack. Also a `PermissionError`."""


class CredentialsError(BatcatError):
    """There are no AWS credentials, or they have expired."""


class ThrottledError(BatcatError):
    """AWS still asked to slow down after every retry with back-off."""


class ConnectError(BatcatError):
    """A service or database could not be reached over the network."""


class ServiceError(BatcatError):
    """AWS refused a request for another reason; the message carries its error code."""


class DataFormatError(BatcatError):
    """Data is not in the format or of the types that its reader or writer was asked for."""


class QueryError(BatcatError):
    """A database refused or failed a query; the message carries the engine's own words.

    Attributes
    ----------
    line, column : int or None
        Where in the query, both from 1, if the engine says so.
    """

    def __init__(
        self, message: str, *, fix: str = "", line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(message, fix=fix)
        self.line = line
        self.column = column


class QueryTimeoutError(QueryError):
    """A query took longer than the caller allowed; it was cancelled."""


class ResultTooLargeError(QueryError):
    """A result is larger than the chosen way of fetching it can carry."""


class ImageError(BatcatError):
    """The container image could not be built, pushed or found."""


class StackError(BatcatError):
    """CloudFormation refused or rolled back a stack; the message names resource and reason."""


class WorkflowError(BatcatError):
    """The workflow's definition is wrong, or an execution of it failed."""


class NotDeployedError(WorkflowError):
    """What was asked for is not deployed, or not in this account and region."""


class NoSuchExecutionError(WorkflowError):
    """There is no such execution: it never was, or Step Functions keeps it no longer."""


class WaitInterruptedError(BatcatError):
    """Ctrl-C, or lost credentials, ended the waiting for something that goes on without us.

    The message says what goes on; `fix` says how to come back to it.
    """

    exit_code = 130


class EmbeddedAWSError(BatcatError):
    """The embedded AWS did not start, died, or was asked for something that it does not have."""

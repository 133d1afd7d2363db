"""Secrets Manager: a secret that shows its keys and never its values.

A `Secret` gives its values when it is asked for one by its key, and in no other way: not in its
repr, not when formatted or logged, not in a pickle. While one is fetched, botocore's own debug
lines, which hold whole responses, are kept out of the log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from batcat_runtime.errors import AccessDeniedError, NoSuchSecretError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client

if TYPE_CHECKING:
    import boto3

_BODIES = ("botocore.parsers", "botocore.endpoint", "botocore.httpsession", "botocore.hooks")
_fetching = threading.local()


class Secret(Mapping[str, Any]):
    """What Secrets Manager keeps under one name; a mapping, if it is a JSON object.

    Attributes
    ----------
    name, region, arn : str
        Where it was found.

    Examples
    --------
    >>> secret = Secret("redshift/awsuser", "cn-northwest-1", "arn", b'{"password": "hush"}')
    >>> secret
    <Secret 'redshift/awsuser' in cn-northwest-1 with password>
    >>> len(secret["password"])
    4
    """

    __slots__ = ("_content", "_values", "arn", "name", "region")

    def __init__(self, name: str, region: str, arn: str, content: bytes) -> None:
        self.name = name
        self.region = region
        self.arn = arn
        self._content = content
        self._values: dict[str, Any] = {}
        # a decoding error would carry the whole secret with it
        with contextlib.suppress(ValueError):
            found = json.loads(content)
            self._values = found if isinstance(found, dict) else {}

    @property
    def text(self) -> str:
        """The whole secret as text, for one that is no JSON object."""
        try:
            return self._content.decode()
        except UnicodeDecodeError:
            problem = UserError(
                f"The secret {self.name!r} is binary and no text.", fix="Use its `binary`."
            )
        raise problem

    @property
    def binary(self) -> bytes:
        """The whole secret as bytes."""
        return self._content

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        keys = f" with {', '.join(map(str, self._values))}" if self._values else ""
        return f"<Secret {self.name!r} in {self.region}{keys}>"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UserError(
            f"The secret {self.name!r} is not copied or stored.",
            fix="Pass its name and region on, and call get_secret there.",
        )

    def __hash__(self) -> int:
        return hash((self.name, self.region, self.arn))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self.arn, self._content) == (other.arn, other._content)


def get_secret(
    secret_name: str, region: str | None = None, *, boto3_session: boto3.Session | None = None
) -> Secret:
    """Fetch a secret from Secrets Manager.

    Parameters
    ----------
    secret_name : str
        Its name or ARN.
    region : str, optional
        By default that of the session.
    boto3_session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.

    Returns
    -------
    Secret
        A mapping from the keys of the secret's JSON to their values; `text` and `binary` give a
        secret that is no JSON object.

    Raises
    ------
    UserError
        The name is empty.
    NoSuchSecretError
        There is no such secret in this region, or it is about to be deleted.
    AccessDeniedError
        The credentials lack secretsmanager:GetSecretValue, or kms:Decrypt on its key.
    CredentialsError, ConnectError, ThrottledError, ServiceError
        AWS refused for another reason, or could not be reached.

    Examples
    --------
    >>> get_secret("redshift/awsuser", "cn-northwest-1")  # doctest: +SKIP
    <Secret 'redshift/awsuser' in cn-northwest-1 with username, password, host, port>
    """
    if not isinstance(secret_name, str) or not secret_name.strip():
        raise UserError(
            "The name of the secret is empty.", fix="Give it, for example 'redshift/awsuser'."
        )
    place = f"the secret {secret_name!r}"
    with translated(place, "secretsmanager:GetSecretValue"):
        service = client("secretsmanager", boto3_session, region)
        place_region = service.meta.region_name
        try:
            with no_bodies_in_logs():
                answer = service.get_secret_value(SecretId=secret_name)
        except (
            service.exceptions.ResourceNotFoundException,
            service.exceptions.InvalidRequestException,
        ) as error:
            raise NoSuchSecretError(
                f"The secret {secret_name!r} cannot be read in {place_region}: "
                f"{error.response['Error'].get('Message', '')}",
                fix="Check its name and its region with `aws secretsmanager list-secrets`.",
            ) from error
        except service.exceptions.DecryptionFailure as error:
            raise AccessDeniedError(
                f"Secrets Manager could not decrypt {place} in {place_region}.",
                fix="The role or user in use needs kms:Decrypt on the secret's key; ask its "
                "administrator.",
            ) from error
    text = answer.get("SecretString")
    content = text.encode() if text is not None else bytes(answer.get("SecretBinary", b""))
    return Secret(answer["Name"], place_region, answer["ARN"], content)


@contextlib.contextmanager
def no_bodies_in_logs() -> Iterator[None]:
    """Keep this thread's debug lines of botocore out of the log."""
    for name in _BODIES:
        logger = logging.getLogger(name)
        if _is_wanted not in logger.filters:
            logger.addFilter(_is_wanted)
    _fetching.now = True
    try:
        yield
    finally:
        _fetching.now = False


def _is_wanted(record: logging.LogRecord) -> bool:
    return not getattr(_fetching, "now", False)

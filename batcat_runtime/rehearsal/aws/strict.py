"""The examiner: every request is held against botocore's service model before moto sees it.

moto accepts names that AWS refuses, so a rehearsal on plain moto passes where AWS would fail. This
layer closes the gap in three steps:

1. the required members, and every `pattern`, `enum`, `min` and `max` of the model
   (`constraints.py`); types are checked by every client of botocore;
2. rules that AWS enforces but does not put into its models: names of buckets and stacks, role and
   schedule checks (`rules.py`);
3. the answer, with the code and in the words of the service that would have given it.

Objects are streams: for S3 only names and small documents are read, never an object's content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..wire import (
    Call,
    Environ,
    ServiceError,
    StartResponse,
    WsgiApp,
    error_response,
    read_call,
    send,
)
from .constraints import Violation, summary, violations

CALL_KEY = "batcat.call"
Rule = Callable[[Call], None]

# Codes for a broken constraint, where they are not `ValidationException` (JSON) or
# `ValidationError` (Query).
_CODES = {
    "athena": "InvalidRequestException",
    "ecr": "InvalidParameterException",
    "logs": "InvalidParameterException",
    "sns": "InvalidParameter",
}
_CODES_BY_PROTOCOL = {"query": "ValidationError", "ec2": "InvalidParameterValue"}
_S3_ENUM_CODES = {
    "StorageClass": ("InvalidStorageClass", "The storage class you specified is not valid"),
    "LocationConstraint": (
        "InvalidLocationConstraint",
        "The specified location-constraint is not valid",
    ),
    "ServerSideEncryption": (
        "InvalidEncryptionAlgorithmError",
        "The encryption request you specified is not valid",
    ),
}
_IAM_NAMES = {"roleName", "userName", "groupName", "policyName"}


class Strict:
    """WSGI middleware that answers a malformed request as AWS would.

    Parameters
    ----------
    app : WSGI application
        What gets the requests that pass. It finds the parsed call in the environ.
    rules : iterable of callable
        Further checks; each raises `ServiceError` when the call breaks it.
    """

    def __init__(self, app: WsgiApp, rules: Iterable[Rule] = ()) -> None:
        self._app = app
        self._rules = tuple(rules)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with the service's own error, or pass the request on."""
        call = read_call(environ)
        if call is None:
            return self._app(environ, start_response)
        try:
            examine(call)
            for rule in self._rules:
                rule(call)
        except ServiceError as error:
            return send(error_response(call, error), start_response)
        environ[CALL_KEY] = call
        return self._app(environ, start_response)


def examine(call: Call) -> None:
    """Check one call against its service model.

    Parameters
    ----------
    call : Call
        What was asked.

    Raises
    ------
    ServiceError
        With the code and the message of the service, when a constraint is broken.
    """
    if not call.signed:
        raise ServiceError("AccessDenied", "Access Denied", 403)
    if call.error is not None:
        raise call.error
    shape = call.model.input_shape
    if shape is None:
        return
    if call.service == "s3":
        _examine_s3(call)
        return
    found = list(violations(shape, call.params))
    if found:
        raise _as_the_service_says(call, found)


def _as_the_service_says(call: Call, found: list[Violation]) -> ServiceError:
    first = found[0]
    if call.service == "ecr":
        rule = f"must satisfy regular expression '{first.rule}'"
        text = rule if first.kind == "pattern" else first.constraint
        return ServiceError(
            "InvalidParameterException",
            f"Invalid parameter at '{first.path}' failed to satisfy constraint: '{text}'",
        )
    if call.service == "iam" and first.kind == "pattern" and first.path in _IAM_NAMES:
        return ServiceError(
            "ValidationError",
            f"The specified value for {first.path} is invalid. It must contain only alphanumeric "
            "characters and/or the following: +=,.@_-",
        )
    if call.service == "lambda" and first.kind == "enum" and first.path == "runtime":
        return ServiceError(
            "InvalidParameterValueException",
            f"Value {first.path} {first.value} failed to satisfy constraint: {first.constraint} "
            "or be a valid ARN",
        )
    default = _CODES_BY_PROTOCOL.get(call.protocol, "ValidationException")
    return ServiceError(_CODES.get(call.service, default), summary(found))


def _examine_s3(call: Call) -> None:
    """S3 has codes of its own; its model carries few constraints beside enumerations."""
    for one in violations(call.model.input_shape, call.params):
        name = one.path.rpartition(".")[2]
        name = name[:1].upper() + name[1:]
        if one.kind == "enum" and one.value not in ("''", None):
            code, message = _S3_ENUM_CODES.get(name, ("InvalidArgument", str(one)))
            raise ServiceError(code, message)
        if one.kind == "required" and "." in one.path:
            raise ServiceError(
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our "
                "published schema",
            )
    key = call.params.get("Key")
    if isinstance(key, str) and len(key.encode()) > 1024:
        raise ServiceError(
            "KeyTooLongError",
            "Your key is too long",
            extra={"Size": str(len(key.encode())), "MaxSizeAllowed": "1024"},
        )

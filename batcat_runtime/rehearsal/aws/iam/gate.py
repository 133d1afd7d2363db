"""The layer of the server that asks IAM: may this caller do that? If not, the service says so.

Users and roles are held to their policies; the administrator (any key that IAM did not give out)
may do everything. What services do with a role behind the API (SageMaker pulls the image, Step
Functions tries whether it may log) goes through `Access.require`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from ...wire import Call, Environ, ServiceError, StartResponse, WsgiApp, error_response, send
from ..strict import CALL_KEY
from .evaluation import Decision, Need, decide
from .needs import Locate, needs
from .sessions import Principal, principal_of, via_of
from .trail import Entry, Trail

_BECAUSE = {
    "implicit": "because no identity-based policy allows the {action} action",
    "explicit": "with an explicit deny in an identity-based policy",
    "boundary": "because no permissions boundary allows the {action} action",
}
_CODES = {
    "cloudformation": "AccessDenied",
    "cloudwatch": "AccessDenied",
    "ec2": "UnauthorizedOperation",
    "iam": "AccessDenied",
    "s3": "AccessDenied",
    "sts": "AccessDenied",
}


class Access:
    """IAM's part in every call: who asks, what is needed, whether it is allowed, and the record.

    Parameters
    ----------
    keys_of : callable
        From role ARN, service and region to the access key of the role's session in that service.
    trail : Trail
        Where every need is noted.
    enforced : bool
        Whether what is not allowed is refused; else it is only noted.
    locate : callable
        See `needs`.
    """

    def __init__(
        self,
        keys_of: Callable[[str, str, str], tuple[str, str, str]],
        trail: Trail,
        *,
        enforced: bool,
        locate: Locate,
    ) -> None:
        self._keys_of = keys_of
        self._trail = trail
        self._enforced = enforced
        self._locate = locate

    def check(self, call: Call) -> None:
        """Refuse whose session has expired; note what a call needs, and refuse who may not.

        Administrators may do everything.

        Raises
        ------
        ServiceError
            In the service's words.
        """
        principal = principal_of(call.access_key)
        if principal.is_expired:
            raise expired(call)
        if principal.is_administrator:
            return
        via = via_of(call.session_token)
        keys = self._keys(principal, call.region, via)
        for need in needs(call, self._locate):
            decision = self._decide(principal, need, keys, via, f"{call.service}:{call.operation}")
            if not decision.allowed and self._enforced:
                raise denial(call, principal, need, decision)

    def require(
        self, role_arn: str, region: str, by: str, wanted: Iterable[Need], *, what: str
    ) -> list[Need]:
        """Note what a service needs to do with a role; return what the role does not allow.

        Parameters
        ----------
        role_arn : str
            The role.
        region : str
            Where.
        by : str
            The service, such as ``sagemaker``.
        wanted : iterable of Need
            The permissions.
        what : str
            What the service does, for the record: ``pull the image``.
        """
        key = self._keys_of(role_arn, by, region)[0]
        principal = principal_of(key)
        keys = self._keys(principal, region, "")
        return [
            need
            for need in wanted
            if not self._decide(principal, need, keys, f"{by}.amazonaws.com", what).allowed
            and self._enforced
        ]

    def _decide(
        self, principal: Principal, need: Need, keys: dict[str, Any], by: str, call: str
    ) -> Decision:
        decision = decide(principal.policies, need, boundary=principal.boundary, context=keys)
        self._trail.note(
            Entry(
                principal=principal.arn,
                role=principal.role,
                by=by,
                call=call,
                action=need.action,
                resource=need.resource,
                context=need.context,
                reason=decision.reason,
            )
        )
        return decision

    def _keys(self, principal: Principal, region: str, via: str) -> dict[str, Any]:
        keys = principal.keys() | {
            "aws:RequestedRegion": region,
            "aws:SecureTransport": "true",
            "aws:CurrentTime": datetime.now(UTC).isoformat(),
            "aws:ViaAWSService": "true" if via else "false",
            # The embedded Redshift shows nobody another one's statements.
            "redshift-data:statement-owner-iam-userid": principal.arn,
        }
        return keys | ({"aws:CalledVia": [via], "aws:CalledViaFirst": via} if via else {})


class Gate:
    """WSGI middleware that lets through what IAM allows.

    Parameters
    ----------
    app : WSGI application
        What gets the calls that are allowed.
    access : Access
        Decides and notes.
    """

    def __init__(self, app: WsgiApp, access: Access) -> None:
        self._app = app
        self._access = access

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with the service's refusal, or pass the call on."""
        call: Call | None = environ.get(CALL_KEY)
        if call is not None:
            try:
                self._access.check(call)
            except ServiceError as error:
                return send(error_response(call, error), start_response)
        return self._app(environ, start_response)


def expired(call: Call) -> ServiceError:
    """Return the refusal of a session that has ended."""
    if call.service == "s3":
        return ServiceError("ExpiredToken", "The provided token has expired.")
    message = "The security token included in the request is expired"
    code = "ExpiredTokenException" if call.protocol in ("json", "rest-json") else "ExpiredToken"
    return ServiceError(code, message, 400 if call.protocol == "json" else 403)


def denial(call: Call, principal: Principal, need: Need, decision: Decision) -> ServiceError:
    """Return a refusal in the words of the service that was called."""
    resource = need.resource or "*"
    # S3 puts the resource into quotation marks; the others do not.
    shown = f'"{resource}"' if call.service == "s3" else resource
    because = _BECAUSE[decision.reason].format(action=need.action)
    message = (
        f"User: {principal.arn} is not authorized to perform: {need.action} on resource: {shown} "
        f"{because}"
    )
    status = 400 if call.protocol == "json" else 403
    return ServiceError(_CODES.get(call.service, "AccessDeniedException"), message, status)

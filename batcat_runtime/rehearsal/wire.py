"""The wire: from an HTTP request to a named call with parameters, and back to bytes.

Every layer of the embedded AWS speaks in calls (`sagemaker.CreateProcessingJob` with a dict), never
in headers and bodies. This module does the translation, in two steps each way:

1. `read_call` finds service and region in the signature, the operation in the request, and parses
   the parameters by botocore's service model. Bodies that are streams (S3 objects) stay unread.
2. `result_response` and `error_response` write an answer in the protocol of the service: JSON,
   REST-JSON, REST-XML or Query.

moto's own parsers and serialisers do the work that is worth reusing.
"""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import HTTPException

if TYPE_CHECKING:
    from moto.core.model import OperationModel

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

ACCOUNT_ID = "123456789012"

# Signing names that are not the botocore name, or that several services share; first match wins.
_SERVICES_OF_SIGNING_NAME = {
    "monitoring": ("cloudwatch",),
    "sagemaker": ("sagemaker", "sagemaker-runtime", "sagemaker-metrics"),
    "servicequotas": ("service-quotas",),
    "states": ("stepfunctions",),
    "tagging": ("resourcegroupstaggingapi",),
}
_MAX_S3_DOCUMENT = 2 * 1024 * 1024


class ServiceError(Exception):
    """An error as an AWS service answers it.

    Parameters
    ----------
    code : str
        The error code, as boto3 shows it, such as ``ValidationException``.
    message : str
        The text that AWS would give.
    status : int
        HTTP status.
    extra : dict of str to str, optional
        Further elements of an S3 error, such as ``BucketName``.
    headers : dict of str to str, optional
        Further headers of the answer, such as ``x-amz-bucket-region``.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        extra: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.headers = headers or {}
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra or {}


@dataclass(frozen=True)
class Call:
    """One API call, as any layer sees it.

    Attributes
    ----------
    service, operation : str
        botocore's names, such as ``stepfunctions`` and ``StartExecution``.
    region : str
        The region that the request was signed for.
    params : dict
        Parsed parameters by member name; empty when `error` is set.
    error : ServiceError or None
        Why the request could not be parsed.
    access_key, session_token : str
        The access key id and the session token that the request was signed with.
    """

    service: str
    operation: str
    region: str
    protocol: str
    model: OperationModel
    params: dict[str, Any] = field(default_factory=dict)
    error: ServiceError | None = None
    head: bool = False
    signed: bool = True
    access_key: str = ""
    session_token: str = ""


@dataclass(frozen=True)
class Response:
    """An HTTP answer that is complete: status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_call(environ: Environ) -> Call | None:
    """Parse a request, or return None when it is no AWS call that botocore's models know."""
    scope = _credential_scope(environ)
    signing_name, region = scope or ("s3", "us-east-1")
    for service in _SERVICES_OF_SIGNING_NAME.get(signing_name, (signing_name,)):
        call = _match(environ, service, region, signed=scope is not None)
        if call is not None:
            return call
    return None


def result_response(call: Call, result: dict[str, Any] | None) -> Response:
    """Serialise a result by the output shape of the call's operation."""
    serializer = get_serializer_class(call.service, call.protocol)(operation_model=call.model)
    answer = serializer.serialize(result or {})
    body = answer["body"]
    headers = {**answer["headers"], "x-amzn-RequestId": str(uuid.uuid4())}
    return Response(
        int(answer["status_code"]), headers, body.encode() if isinstance(body, str) else body
    )


def error_response(call: Call, error: ServiceError) -> Response:
    """Write an error in the protocol of the call's service."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id, **error.headers}
    if call.protocol in ("json", "rest-json", "smithy-rpc-v2-cbor"):
        headers |= {"Content-Type": _json_content_type(call), "x-amzn-errortype": error.code}
        if "awsQueryCompatible" in call.model.service_model.metadata:
            headers["x-amzn-query-error"] = f"{error.code};Sender"
        body = json.dumps({"__type": error.code, "message": error.message})
    else:
        headers["Content-Type"] = "text/xml"
        body = _xml_error(call, error, request_id)
    return Response(error.status, headers, b"" if call.head else body.encode())


def send(response: Response, start_response: StartResponse) -> list[bytes]:
    """Hand a `Response` to a WSGI server."""
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    start_response(f"{response.status} {_REASONS.get(response.status, 'OK')}", [*headers.items()])
    return [response.body]


_REASONS = {
    301: "Moved Permanently",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
}


def _credential_scope(environ: Environ) -> tuple[str, str] | None:
    """Return (signing name, region) from the Authorization header or a presigned URL."""
    parts = credential_of(environ)[0].split("/")
    return (parts[-2].lower(), parts[-3]) if len(parts) >= 5 else None


def credential_of(environ: Environ) -> tuple[str, str]:
    """Return a request's credential (key id, date, region, service) and its session token."""
    authorization = str(environ.get("HTTP_AUTHORIZATION", ""))
    credential = authorization.partition("Credential=")[2].split(",")[0].strip()
    if credential:
        return credential, str(environ.get("HTTP_X_AMZ_SECURITY_TOKEN", ""))
    query = parse_qs(str(environ.get("QUERY_STRING", "")))
    token = query.get("X-Amz-Security-Token", [""])[0]
    return query.get("X-Amz-Credential", [""])[0], token


def _match(environ: Environ, service: str, region: str, *, signed: bool) -> Call | None:
    try:
        model = get_service_model(service)
        router = get_service_router(service)
    except Exception:  # botocore knows no such service
        return None
    body = b"" if service == "s3" else _buffer_body(environ)
    request = Request(_without_body(environ, body))
    try:
        operation, uri_params = router.match(request)
        protocol = determine_request_protocol(model, request.content_type)
    except (HTTPException, NotImplementedError):
        return None
    if service == "s3" and _has_document(operation, environ) and signed:
        body = _buffer_body(environ)
        request = Request(_without_body(environ, body))
    credential, token = credential_of(environ)
    params: dict[str, Any] = {}
    error = None
    try:
        params = _parse(request, operation, protocol, uri_params, body)
    except ServiceError as failure:
        error = failure
    except (ValueError, TypeError, AttributeError, KeyError) as failure:
        error = ServiceError(_unreadable_code(protocol), f"Could not read the request: {failure}")
    except Exception as failure:  # moto's RequestParserError and what it wraps
        error = ServiceError(_unreadable_code(protocol), str(failure))
    return Call(
        service=service,
        operation=str(operation.name),
        region=region,
        protocol=protocol,
        model=operation,
        params=params,
        error=error,
        head=request.method == "HEAD",
        signed=signed,
        access_key=credential.split("/")[0],
        session_token=token,
    )


def _parse(
    request: Request, operation: OperationModel, protocol: str, uri: dict[str, Any], body: bytes
) -> dict[str, Any]:
    if body and request.content_encoding == "gzip":
        body = gzip.decompress(body)
    # A body that is no JSON is an error for everything but a payload that is the body itself.
    shape = operation.input_shape
    payload = shape.serialization.get("payload") if shape is not None else None
    if protocol == "json" or (protocol == "rest-json" and payload is None):
        decoded = _json(body) if body else {}
        if not isinstance(decoded, dict):
            raise ServiceError(_unreadable_code(protocol), "The request body is not a JSON object.")
    parsed = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": body,
            "url_path": request.path,
            "url_params": uri,
        }
    )
    return dict(parsed)


def _has_document(operation: OperationModel, environ: Environ) -> bool:
    """Tell whether the body is a small document to read, not an object's content."""
    size = str(environ.get("CONTENT_LENGTH") or "0")
    if operation.input_shape is None or operation.has_streaming_input:
        return False
    return size.isdigit() and 0 < int(size) <= _MAX_S3_DOCUMENT


def _buffer_body(environ: Environ) -> bytes:
    """Read the body and put a fresh copy back for the layers below."""
    size = str(environ.get("CONTENT_LENGTH") or "")
    stream = environ["wsgi.input"]
    if size.isdigit():
        body: bytes = stream.read(int(size))
    elif environ.get("wsgi.input_terminated"):
        body = stream.read()
        environ["CONTENT_LENGTH"] = str(len(body))
    else:
        body = b""
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _without_body(environ: Environ, body: bytes) -> Environ:
    # A copy: werkzeug caches form data in the environ, and moto must see the request untouched.
    copy = {k: v for k, v in environ.items() if not k.startswith("werkzeug.")}
    copy["wsgi.input"] = io.BytesIO(body)
    copy["CONTENT_LENGTH"] = str(len(body))
    return copy


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return None


def _unreadable_code(protocol: str) -> str:
    codes = {"query": "MalformedInput", "rest-xml": "MalformedXML"}
    return codes.get(protocol, "SerializationException")


def _json_content_type(call: Call) -> str:
    if call.protocol == "rest-json":
        return "application/json"
    return f"application/x-amz-json-{call.model.service_model.metadata.get('jsonVersion', '1.1')}"


def _xml_error(call: Call, error: ServiceError, request_id: str) -> str:
    code, message = escape(error.code), escape(error.message)
    more = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in error.extra.items())
    if call.service == "s3":
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
            f"<Message>{message}</Message>{more}<RequestId>{request_id}</RequestId></Error>"
        )
    return (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
        f"<Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )

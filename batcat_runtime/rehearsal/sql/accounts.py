"""Glue catalogues of other accounts, which Athena reaches through a data catalogue's `catalog-id`.

moto separates accounts by a header of its own. A request to Glue that names another account's
`CatalogId` is sent again with that header, so that its databases are a world of their own.
"""

from __future__ import annotations

import threading
from typing import Any

from botocore.exceptions import ClientError

from ..clients import Clients
from ..operations import PASS, Operation
from ..wire import ACCOUNT_ID, Call, ServiceError

_HEADER = "x-moto-account-id"
_OPERATIONS = (
    *(f"{verb}Database" for verb in ("Create", "Get", "Update", "Delete")),
    *(f"{verb}Table" for verb in ("Create", "Get", "Update", "Delete", "BatchDelete")),
    *(f"{verb}Partition" for verb in ("Create", "Get", "Update", "Delete")),
    *(f"Batch{verb}Partition" for verb in ("Create", "Get", "Update", "Delete")),
    *("GetDatabases", "GetTables", "GetPartitions", "SearchTables"),
    *("GetTableVersion", "GetTableVersions", "DeleteTableVersion", "BatchDeleteTableVersion"),
)


class GlueAccounts:
    """Clients of Glue, one per region and account.

    Parameters
    ----------
    clients : Clients
        The server's own clients, for its own account.
    """

    def __init__(self, clients: Clients) -> None:
        self._own = clients
        self._others: dict[str, Clients] = {}
        self._hooked: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def glue(self, region: str, account: str = ACCOUNT_ID) -> Any:
        """Return the Glue client of a region and an account.

        Parameters
        ----------
        region : str
            The region to sign for.
        account : str, optional
            Twelve digits.
        """
        if account == ACCOUNT_ID:
            return self._own.get("glue", region)
        with self._lock:
            clients = self._others.setdefault(
                account, Clients(self._own.endpoint_url, self._own.keys)
            )
            client = clients.get("glue", region)
            if (region, account) not in self._hooked:

                def name_account(params: dict[str, Any], **_: Any) -> None:
                    params["headers"][_HEADER] = account

                client.meta.events.register("before-call.glue", name_account)
                self._hooked.add((region, account))
            return client

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations of Glue that a CatalogId sends to another account."""
        return {("glue", name): self._perform for name in _OPERATIONS}

    def _perform(self, call: Call) -> Any:
        account = str(call.params.get("CatalogId") or ACCOUNT_ID)
        if account == ACCOUNT_ID or not account.isdigit():
            return PASS
        request = {key: value for key, value in call.params.items() if key != "CatalogId"}
        client = self.glue(call.region, account)
        try:
            answer = client._make_api_call(call.operation, request)
        except ClientError as error:
            told = error.response["Error"]
            status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
            raise ServiceError(told["Code"], told["Message"], status) from error
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

"""Writes what a statement leaves to S3: its result file, and what Athena puts beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..objects import split_location
from .results import Result, write_csv

if TYPE_CHECKING:
    import duckdb

# Transfers in parts have a price of their own.
_ONE_PUT_BYTES = 8 * 1024 * 1024


def publish(
    connection: duckdb.DuckDBPyConnection,
    s3: Any,
    result: Result,
    address: str,
    encryption: dict[str, str],
    folder: Path,
) -> None:
    """Write the result file and what goes with it.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Writes the CSV file.
    s3 : boto3 client
        Uploads.
    result : Result
        What the statement left.
    address : str
        Where to, without a suffix.
    encryption : dict
        The result's EncryptionConfiguration.
    folder : pathlib.Path
        For the file before it is uploaded.
    """
    bucket, base = split_location(address)
    extra = encryption_arguments(encryption)
    if result.rows_file is not None:
        file = folder / "result.csv"
        write_csv(connection, result, file)
        if file.stat().st_size < _ONE_PUT_BYTES:
            s3.put_object(Bucket=bucket, Key=f"{base}.csv", Body=file.read_bytes(), **extra)
        else:
            s3.upload_file(str(file), bucket, f"{base}.csv", ExtraArgs=extra or None)
        described = "\n".join(
            f"{name}\t{kind.name}" for name, kind in zip(result.names, result.types, strict=True)
        )
        s3.put_object(Bucket=bucket, Key=f"{base}.csv.metadata", Body=described.encode(), **extra)
    elif result.suffix == ".txt":
        body = "".join(f"{line}\n" for line in result.lines).encode()
        s3.put_object(Bucket=bucket, Key=f"{base}.txt", Body=body, **extra)
        if result.names:
            names = "\n".join(result.names).encode()
            s3.put_object(Bucket=bucket, Key=f"{base}.txt.metadata", Body=names, **extra)
    else:
        manifest = "\n".join(result.manifest).encode()
        s3.put_object(Bucket=bucket, Key=f"{base}-manifest.csv", Body=manifest, **extra)
        s3.put_object(Bucket=bucket, Key=f"{base}.metadata", Body=b"", **extra)


def encryption_arguments(configuration: dict[str, str]) -> dict[str, str]:
    """Return the arguments of S3's PutObject for a result's encryption."""
    option = configuration.get("EncryptionOption")
    if option == "SSE_S3":
        return {"ServerSideEncryption": "AES256"}
    if option == "SSE_KMS":
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": configuration["KmsKey"]}
    return {}

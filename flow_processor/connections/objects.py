"""Objects in S3 buckets, over the package minio: passed on piece by piece, ended with the step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from mimetypes import guess_type
from pathlib import Path
from typing import Any, BinaryIO

import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.error import MinioException
from minio.error import S3Error as ServerError

from flow_processor.connections.address import AddressInvalid, has_password
from flow_processor.errors import StepCancelled, StepError, StepTimeout
from flow_processor.paths import inside, open_regular, write_atomic
from flow_processor.step import JsonValue, StepContext

_READ_SECONDS = 30.0
"""How long a server may be silent."""
_CHUNK_BYTES = 256 * 1024


class S3Error(StepError):
    """The server did not do what it was asked."""

    code = "s3_failed"


class Objects:
    """The objects of a server, for one step. Methods raise what minio and urllib3 raise; see `explaining`."""

    def __init__(
        self, context: StepContext, *, endpoint: str, region: str, secret: str | None, verify: bool | str
    ) -> None:
        """Raises AddressInvalid, PathRefused and S3Error."""
        self._context = context
        rendered = context.render(endpoint)
        access_key, secret_key = (None, None) if secret is None else self._login(secret)
        left = context.remaining_seconds()
        seconds = _READ_SECONDS if left is None else max(1.0, min(left, _READ_SECONDS))
        checks: dict[str, Any] = {"cert_reqs": "CERT_REQUIRED" if verify else "CERT_NONE"}
        if isinstance(verify, str):
            checks["ca_certs"] = str(self._file(verify, what="s3.verify"))
        elif not verify:
            context.log("the server's certificate is not checked (verify: false)", level="warning")
        if not isinstance(rendered, str) or has_password(rendered):
            raise AddressInvalid("endpoint must be http://host:port or https://host:port, without a password")
        scheme, _, host = rendered.rstrip("/").partition("://")
        try:
            self._client = Minio(
                host,
                access_key=access_key,
                secret_key=secret_key,
                region=region,
                secure=scheme != "http",
                http_client=urllib3.PoolManager(timeout=seconds, retries=False, **checks),
            )
        except ValueError as error:
            raise AddressInvalid(f"endpoint: {error}") from error

    @contextmanager
    def explaining(self, what: str) -> Iterator[None]:
        """Errors of the block become StepErrors with the server's words; `what` says what was done."""
        try:
            yield
        except StepError:
            raise
        except ServerError as error:
            details = {"code": error.code, "status": getattr(error.response, "status", None)}
            raise S3Error(f"{what}: {error.code}: {error.message}", details=details) from error
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            self._check()
            raise S3Error(f"{what}: {error}", code="s3_connection") from error
        except ValueError as error:  # a bucket or key that no server would take
            raise S3Error(f"{what}: {error}", code="s3_invalid_name") from error
        except OSError as error:
            raise S3Error(f"{what}: {error.strerror or error}", code="s3_file") from error

    def get(self, bucket: str, key: str, *, path: str) -> dict[str, JsonValue]:
        """Write the object into a file; `{bytes, etag}`."""
        target = self._file(path, what="s3.path")
        answer = self._client.get_object(bucket, key)
        sizes: list[int] = []

        def pieces() -> Iterator[bytes]:
            for piece in answer.stream(_CHUNK_BYTES):
                self._check()
                sizes.append(len(piece))
                yield piece

        try:
            write_atomic(target, pieces(), below=self._context.folders.data)
            etag = (answer.headers.get("etag") or "").strip('"')
        finally:
            answer.close()
            answer.release_conn()
        return {"bytes": sum(sizes), "etag": etag}

    def put(self, bucket: str, key: str, *, path: str, kind: str | None) -> dict[str, JsonValue]:
        """Store a file as the object; `{bytes, etag}`."""
        source = self._file(path, what="s3.path")
        try:
            file = open_regular(source, "rb", below=self._context.folders.data)
        except FileNotFoundError as error:
            raise S3Error(f"there is no file {path!r} in the data folder", code="s3_file") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            media_type = kind or guess_type(source.name)[0] or "application/octet-stream"
            content: Any = _Checked(file, self._check)  # of a file, only `read` is used
            stored = self._client.put_object(bucket, key, content, size, content_type=media_type)
        return {"bytes": size, "etag": stored.etag}

    def list(self, bucket: str, *, prefix: str | None, limit: int) -> list[dict[str, JsonValue]]:
        """The objects, in the order of their keys."""
        found: list[dict[str, JsonValue]] = []
        for entry in self._client.list_objects(bucket, prefix=prefix, recursive=True):
            self._check()
            if len(found) == limit:
                message = f"there are more than {limit:,} objects (max_keys); give a longer prefix, or raise max_keys"
                raise S3Error(message, code="s3_too_many_keys", details={"max_keys": limit})
            modified = None if entry.last_modified is None else entry.last_modified.isoformat()
            etag = (entry.etag or "").strip('"')
            found.append({"key": entry.object_name, "bytes": entry.size, "modified": modified, "etag": etag})
        return found

    def exists(self, bucket: str, key: str) -> bool:
        """Is there such an object? A bucket that is not there is an error."""
        try:
            self._client.stat_object(bucket, key)
        except ServerError as error:
            if error.code != "NoSuchKey":
                raise
            if not self._has_bucket(bucket):  # a HEAD has no body that could tell one from the other
                details = {"code": "NoSuchBucket", "status": 404}
                raise S3Error(f"exists: there is no bucket {bucket!r}", details=details) from error
            return False
        return True

    def _has_bucket(self, bucket: str) -> bool:
        try:
            return self._client.bucket_exists(bucket)
        except ServerError:
            return True  # it is none of the caller's business

    def delete(self, bucket: str, key: str) -> None:
        """Delete the object, if it is there."""
        self._client.remove_object(bucket, key)

    def copy(self, source: dict[str, str], target: dict[str, str]) -> str:
        """Copy an object within the server; the copy's etag."""
        origin = CopySource(source["bucket"], source["key"])
        return self._client.copy_object(target["bucket"], target["key"], origin).etag or ""

    def _check(self) -> None:
        """May the step go on?"""
        if self._context.stop.is_set():
            raise StepCancelled("the call was ended, for the run is being ended")
        if self._context.remaining_seconds() == 0:
            raise StepTimeout(f"step '{self._context.step_name}' did not end within its time limit")

    def _login(self, name: str) -> tuple[str, str]:
        values = self._context.secret(name).values
        user, password = values.get("username"), values.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            there = ", ".join(sorted(values)) or "nothing"
            message = (
                f"secret {name!r} has no username and password (access key, secret key); it has: {there}"
            )
            raise S3Error(message, code="s3_authentication")
        return user, password

    def _file(self, path: str, *, what: str) -> Path:
        folders = self._context.folders
        return inside(folders.data, path, what=what, private=folders.private)


class _Checked:
    """A file whose reader is asked, at each piece, whether the step may go on."""

    def __init__(self, file: BinaryIO, check: Any) -> None:
        self._file = file
        self._check = check

    def read(self, size: int = -1) -> bytes:
        self._check()
        return self._file.read(size)

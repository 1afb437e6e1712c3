"""Puts files into an S3 bucket, gets them out, and looks what is there.

```yaml
- name: archived
  type: s3
  s3:
    endpoint: https://s3.eu-west-1.amazonaws.com
    region: eu-west-1
    secret: archive
    action: put
    bucket: reports
    key: "2026/{{ __run_id__ }}.csv"
    path: output/report.csv
```

| action | does | result |
|---|---|---|
| get | writes the object into the file `path`, whole or not at all | `{bucket, key, path, bytes, etag}` |
| put | stores the file `path` as the object `key` | `{bucket, key, path, bytes, etag}` |
| list | names the objects whose keys begin with `prefix` | list of `{key, bytes, modified, etag}` |
| exists | looks whether there is an object `key` | true or false |
| copy | copies the object to `to_key` (in `to_bucket`, default the same) | `{bucket, key, etag}` of the copy |
| delete | deletes the object; none there is no error | `{bucket, key}` |

`path` is a file below the data folder; the spooler's own files are refused. Files are passed on piece by piece, so they
may be larger than the worker's memory. `secret` is a credential: the access key as user name, the secret key as
password; without it calls are not signed (public buckets). Nothing is taken from the environment or from ~/.aws.

Works with every server that speaks S3 (signature version 4): AWS, MinIO, Ceph, Garage. Needs the package minio
(`pip install minio`). Errors carry the server's code and status in `details`: `NoSuchKey`, `AccessDenied`. Every action
may be repeated, so after a crash it simply is.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from flow_processor.connections import check_address, import_package
from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import JsonValue, StepContext, StepResult

_NEEDED = {
    "get": ("key", "path"),
    "put": ("key", "path"),
    "list": (),
    "exists": ("key",),
    "copy": ("key", "to_key"),
    "delete": ("key",),
}
"""Action -> the keys it must have."""
_ALLOWED = {"list": ("prefix", "max_keys"), "put": ("content_type",), "copy": ("to_bucket",)}
"""Action -> further keys it may have."""
_OWN = ("key", "path", "prefix", "max_keys", "content_type", "to_bucket", "to_key")


def _is_endpoint(value: str) -> str:
    if "{{" not in value:
        check_address(value)
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(
                "must be http://host:port or https://host:port, without a path (the bucket is `bucket`)"
            )
    return value


class S3Options(Spec):
    """Puts files into an S3 bucket, gets them out, and looks what is there."""

    action: Literal["get", "put", "list", "exists", "copy", "delete"]
    """What is done."""
    bucket: Annotated[str, Field(min_length=1, max_length=255)]
    """The bucket. A template."""
    key: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """The object's key. A template."""
    path: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """With get and put: the file, relative to DATA_PATH. A template."""
    prefix: str | None = None
    """With list: what keys begin with. A template."""
    max_keys: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """With list: so many objects may come, default 10000; more are an error."""
    to_key: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """With copy: the new object's key. A template."""
    to_bucket: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """With copy: the new object's bucket; default: the same. A template."""
    content_type: str | None = None
    """With put: the object's media type; default: by the file's ending. A template."""
    endpoint: Annotated[str, AfterValidator(_is_endpoint)] = "https://s3.amazonaws.com"
    """The server: `https://host:port`. A template."""
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "us-east-1"
    """Its region."""
    secret: str | None = None
    """Name of the secret: access key as user name, secret key as password."""
    verify: bool | str = True
    """Check the server's certificate. A text is the path of a file below the data folder with the certificates to
    trust."""

    @model_validator(mode="after")
    def _consistent(self) -> S3Options:
        needed = _NEEDED[self.action]
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"{name!r} is missing: action {self.action} needs it")
        for name in _OWN:
            if getattr(self, name) is not None and name not in (*needed, *_ALLOWED.get(self.action, ())):
                raise ValueError(f"{name!r} means nothing with action {self.action}; remove it")
        return self

    @property
    def package(self) -> str:
        """The module that the step needs."""
        return "minio"


@step_type("s3", repeatable=True)
def run(options: S3Options, context: StepContext) -> StepResult:
    """Do it. Raises S3Error, PathRefused and PackageMissing."""
    import_package("minio")
    # Here: most workers never use it and should start fast.
    from flow_processor.connections import objects

    given = {name: _rendered(options, name, context) for name in ("bucket", *_OWN)}
    store = objects.Objects(
        context,
        endpoint=options.endpoint,
        region=options.region,
        secret=options.secret,
        verify=options.verify,
    )
    place = "/".join(str(part) for part in (given["bucket"], given["key"]) if part is not None)
    with store.explaining(f"{options.action} {place}"):
        return StepResult(_act(store, options.action, given))


def _rendered(options: S3Options, name: str, context: StepContext) -> Any:
    given = getattr(options, name)
    value = context.render(given)
    if isinstance(given, str) and not isinstance(value, str):
        shown = context.redacted(json.dumps(value, ensure_ascii=False))
        message = f"s3.{name} must be a text, and is {shown[:200]}"
        if isinstance(value, int | float):
            message += "; add `| string` to the template"
        raise StepError(message, code="s3_invalid_name")
    return value


def _act(store: Any, action: str, given: dict[str, Any]) -> JsonValue:
    place = {"bucket": given["bucket"], "key": given["key"]}
    if action == "get":
        return {**place, "path": given["path"], **store.get(**place, path=given["path"])}
    if action == "put":
        return {
            **place,
            "path": given["path"],
            **store.put(**place, path=given["path"], kind=given["content_type"]),
        }
    if action == "list":
        return store.list(given["bucket"], prefix=given["prefix"], limit=given["max_keys"] or 10_000)
    if action == "exists":
        return store.exists(**place)
    if action == "delete":
        store.delete(**place)
        return place
    target = {"bucket": given["to_bucket"] or given["bucket"], "key": given["to_key"]}
    return {**target, "etag": store.copy(place, target)}

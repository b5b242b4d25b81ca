"""Reads where pictures are to be kept: a local folder, or a bucket of an S3-like object store."""

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from imgapi.results.store import ResultStore

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

_SCHEME = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_SEGMENT = re.compile(r"(?!\.{1,2}$)[\w.!*'()-]{1,200}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?", re.ASCII)
# In the order in which obstore prefers them.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_VIRTUAL_HOSTED = "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"
_TRUE = frozenset({"1", "true", "on", "yes", "y"})
# Alibaba's object storage answers only requests that have the bucket in the host.
_BUCKET_IN_HOST = ".aliyuncs.com"
_NOTHING: Mapping[str, str] = MappingProxyType({})


def open_store(
    location: str | Path,
    kind: str,
    *,
    ttl_seconds: float,
    max_total_bytes: int | None = None,
    max_count: int | None = None,
    environment: Mapping[str, str] = _NOTHING,
    clock: Callable[[], float] = time.time,
) -> ResultStore:
    """Open the store of one kind of pictures; nothing is written or asked yet.

    Args:
        location: A folder, or `s3://bucket` or `s3://bucket/prefix`.
        kind: `results`, `inputs` or `files`: the subfolder or the last part of the prefix.
        ttl_seconds: How long a file can be read.
        max_total_bytes: Bound on the files of this kind together; None for none.
        max_count: Bound on their number; None for none.
        environment: The variables that begin with AWS_. Only where the bucket is reached is read from them here; all
            else, such as region and credentials, obstore itself reads from the process's environment.
        clock: Seconds since the epoch.

    Raises:
        ValueError: The location or the endpoint is none; the message says what it must be.
    """
    place = _read_place(location, kind, environment)
    return ResultStore(
        place, ttl_seconds=ttl_seconds, max_total_bytes=max_total_bytes, max_count=max_count, clock=clock
    )


def is_bucket(location: str | Path) -> bool:
    """Tell whether a location is a bucket, whose size is its owner's to bound."""
    return isinstance(location, str) and location.startswith(_SCHEME)


def _read_place(location: str | Path, kind: str, environment: Mapping[str, str]) -> Path | S3Store:
    if isinstance(location, str) and is_bucket(location):
        return _open_bucket(location, kind, environment)
    if isinstance(location, str) and ("://" in location or not location.strip()):
        raise ValueError("must be a folder or s3://bucket/prefix")
    folder = Path(location)
    if folder.exists() and not folder.is_dir():
        raise ValueError("must be a folder, and a file of that name is there")
    return folder / kind


def _open_bucket(location: str, kind: str, environment: Mapping[str, str]) -> S3Store:
    bucket, _, prefix = location.removeprefix(_SCHEME).partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("must name a bucket of 3 to 63 lower-case letters, digits, hyphens and dots after s3://")
    segments = prefix.rstrip("/").split("/") if prefix else []
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError("must have a prefix of letters, digits and -_.!*'() between single slashes after the bucket")
    config: S3Config = {"bucket": bucket, "disable_bulk_delete": True}  # bulk deletion is not taken everywhere
    client: ClientConfig = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=30)}
    retry: RetryConfig = {
        "max_retries": 4,
        "retry_timeout": timedelta(seconds=20),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
    }
    endpoint = next((environment[name] for name in _ENDPOINTS if environment.get(name)), None)
    if endpoint is not None:
        is_in_host = environment.get(_VIRTUAL_HOSTED, "").strip().lower() in _TRUE
        scheme, host, is_in_host = _read_endpoint(endpoint.strip(), bucket, is_in_host=is_in_host)
        config |= {"aws_endpoint_url_s3": f"{scheme}://{host}", "virtual_hosted_style_request": is_in_host}
        client["allow_http"] = scheme == "http"
    try:
        return S3Store(prefix="/".join([*segments, kind]), config=config, client_options=client, retry_config=retry)
    except (BaseError, ValueError) as exc:
        raise ValueError("needs AWS_ variables that an object store can be opened with") from exc


def _read_endpoint(endpoint: str, bucket: str, *, is_in_host: bool) -> tuple[str, str, bool]:
    """Return scheme, host with port and path, and whether the bucket is in the host."""
    parts = urlsplit(endpoint)
    is_plain = parts.scheme in {"http", "https"} and _HOST.fullmatch(parts.netloc) and not parts.query + parts.fragment
    if not is_plain:
        raise ValueError("needs an AWS_ENDPOINT_URL that is the http or https URL of a host")
    name = parts.netloc.partition(":")[0].lower()
    is_in_host = is_in_host or name.endswith(_BUCKET_IN_HOST)
    host = parts.netloc if not is_in_host or name.startswith(f"{bucket}.") else f"{bucket}.{parts.netloc}"
    return parts.scheme, host + parts.path.rstrip("/"), is_in_host

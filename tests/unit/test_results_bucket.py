"""Pictures kept in a bucket, against an object store on a loopback port that checks every signature."""

import asyncio
import hashlib
import hmac
import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from obstore.store import S3Store

from imgapi.errors import CapabilityMissing
from imgapi.results.kept_names import make_name
from imgapi.results.locations import open_store
from imgapi.results.store import ResultStore, expires_at

KEY_ID, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI", "cn-hangzhou"
OSS = "oss-cn-hangzhou.aliyuncs.com"
BUCKET = "holiday-photos"
ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>of {}</Message></Error>'


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    host: str
    path: str
    query: dict[str, str]


class Bucket:
    """The objects, what was asked, and what to refuse."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.refuse: Callable[[Seen], tuple[int, str] | None] = lambda _: None
        self.delay_seconds = 0.0
        self.page = 1000
        self.address = ""

    def methods(self) -> list[str]:
        """The methods of all requests, in order."""
        return [seen.method for seen in self.seen]


def sign(request: http.server.BaseHTTPRequestHandler, seen: Seen) -> str:
    """Compute the signature of a request as AWS documents it (version 4), independently of obstore."""
    credential, names, _ = re.findall(r"=([^,\s]+)", request.headers["authorization"])
    key_id, day, region, service, end = credential.split("/")
    assert (key_id, region, service, end) == (KEY_ID, REGION, "s3", "aws4_request")
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(seen.query.items()))
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names.split(";"))
    digest = request.headers["x-amz-content-sha256"]
    canonical = f"{seen.method}\n{quote(seen.path, safe='/-_.~')}\n{query}\n{headers}\n{names}\n{digest}"
    scope = f"{day}/{region}/{service}/{end}"
    text = (
        f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    key = f"AWS4{SECRET}".encode()
    for part in (day, region, service, end, text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


class Handler(http.server.BaseHTTPRequestHandler):
    """Speaks as much S3 as a store of pictures hears; also as a proxy, for hosts that are not of this machine."""

    protocol_version = "HTTP/1.1"
    bucket: ClassVar[Bucket]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self) -> None:
        """Answer one request."""
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        seen = Seen(self.command, self.headers["host"], parts.path, dict(parse_qsl(parts.query)))
        self.bucket.seen.append(seen)
        time.sleep(self.bucket.delay_seconds)
        if not self.headers["authorization"].endswith(f"Signature={sign(self, seen)}"):
            self.reply(403, ERROR.format("SignatureDoesNotMatch", seen.path))
        elif self.headers["x-amz-content-sha256"] != hashlib.sha256(content).hexdigest():
            self.reply(400, ERROR.format("XAmzContentSHA256Mismatch", seen.path))
        elif refusal := self.bucket.refuse(seen):
            self.reply(refusal[0], ERROR.format(refusal[1], f"{seen.host}{seen.path}"))
        else:
            self.serve(seen, content)

    def serve(self, seen: Seen, content: bytes) -> None:
        """Do what was asked."""
        in_path = f"/{BUCKET}/"
        key = seen.path.removeprefix("/") if seen.host.startswith(f"{BUCKET}.") else seen.path.removeprefix(in_path)
        objects = self.bucket.objects
        if "list-type" in seen.query:
            self.reply(200, self.listed(seen.query))
        elif self.command == "PUT":
            objects[key] = content
            self.reply(200)
        elif self.command == "DELETE":
            objects.pop(key, None)
            self.reply(204)
        elif key in objects:
            self.reply(200, objects[key])
        else:
            self.reply(404, ERROR.format("NoSuchKey", key))

    def listed(self, query: dict[str, str]) -> str:
        """Write a page of the list, in the order of keys."""
        after = query.get("continuation-token", "")
        keys = sorted(key for key in self.bucket.objects if key.startswith(query["prefix"]) and key > after)
        page = keys[: self.bucket.page]
        contents = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag>"
            f"<Size>{len(self.bucket.objects[key])}</Size></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if len(keys) > len(page) else ""
        truncated = "true" if more else "false"
        head = f"<Name>{BUCKET}</Name><IsTruncated>{truncated}</IsTruncated>{more}"
        return f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{head}{contents}</ListBucketResult>'

    def reply(self, status: int, content: str | bytes = b"") -> None:
        """Send an answer."""
        body = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = answer  # noqa: N815 - the names that the library looks for


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket that is served, with the credentials for it in the environment."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("ACCESS_KEY_ID", KEY_ID), ("SECRET_ACCESS_KEY", SECRET), ("REGION", REGION)):
        monkeypatch.setenv(f"AWS_{name}", value)
    made = Bucket()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"bucket": made}))
    made.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_store(
    bucket: Bucket, clock: Clock, max_total_bytes: int | None = None, environment: dict[str, str] | None = None
) -> ResultStore:
    """Open the store as the service does."""
    return open_store(
        f"s3://{BUCKET}/some/prefix",
        "results",
        ttl_seconds=3600,
        max_total_bytes=max_total_bytes,
        environment=environment or {"AWS_ENDPOINT_URL": bucket.address},
        clock=clock,
    )


def hasty(bucket: Bucket) -> ResultStore:
    """A store that gives up at once."""
    place = S3Store(
        BUCKET,
        endpoint=bucket.address,
        disable_bulk_delete=True,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    return ResultStore(place, ttl_seconds=60)


async def test_a_picture_is_kept_in_the_bucket(bucket: Bucket) -> None:
    """A picture is put whole under the prefix and its kind, signed, and comes back until it is deleted."""
    store = make_store(bucket, Clock())
    content = bytes(range(256)) * 40_000
    name = await store.put(content, ".png")
    assert list(bucket.objects) == [f"some/prefix/results/{name}"]
    assert await store.get(name) == content
    await store.delete(name)
    await store.delete(name)
    assert bucket.objects == {}
    assert await store.get(name) is None
    assert bucket.methods() == ["PUT", "GET", "DELETE", "DELETE", "GET"]
    assert {seen.path for seen in bucket.seen} == {f"/{BUCKET}/some/prefix/results/{name}"}


async def test_kinds_are_apart(bucket: Bucket) -> None:
    """A name of one kind is none of another: the link to an upload opens no result."""
    environment = {"AWS_ENDPOINT_URL": bucket.address}
    results, files = (
        open_store(f"s3://{BUCKET}", kind, ttl_seconds=60, environment=environment) for kind in ("results", "files")
    )
    name = await results.put(b"x", ".png")
    assert await files.get(name) is None
    assert await results.get(name) == b"x"


async def test_an_expired_picture_is_not_asked_for(bucket: Bucket) -> None:
    """What has expired is refused without a request, before and after it is swept."""
    clock = Clock()
    store = make_store(bucket, clock)
    name = await store.put(b"x", ".png")
    clock.now = expires_at(name) + 0.001
    assert await store.get(name) is None
    assert bucket.methods() == ["PUT"]


async def test_a_sweep_reads_no_further_than_it_deletes(bucket: Bucket) -> None:
    """A sweep deletes what has expired, bounded, and lists one page though the bucket has many."""
    clock = Clock()
    store = make_store(bucket, clock)
    for seconds in range(2500):
        bucket.objects[f"some/prefix/results/{make_name(clock.now - 50 + seconds, '.png')}"] = b"x"
    bucket.objects["some/prefix/results/notes.txt"] = b"x"
    assert await store.sweep(max_deleted=7) == 7
    assert await store.sweep(max_deleted=1) == 1
    assert len(bucket.objects) == 2493
    assert bucket.methods() == ["GET", *["DELETE"] * 7, "GET", "DELETE"]
    assert await store.sweep() == 42
    assert await store.sweep() == 0
    assert min(bucket.objects).partition("results/")[2] > f"{int(clock.now * 1000) - 1:x}"
    assert "some/prefix/results/notes.txt" in bucket.objects


async def test_a_sweep_reads_on_where_all_has_expired(bucket: Bucket) -> None:
    """A sweep goes through more than one page of the list when so much is to be deleted."""
    clock = Clock()
    bucket.page = 10
    for seconds in range(25):
        bucket.objects[f"some/prefix/results/{make_name(clock.now - 50 + seconds, '.png')}"] = b"x"
    assert await make_store(bucket, clock).sweep() == 25
    assert bucket.objects == {}


async def test_a_bounded_bucket_stays_within_its_bounds(bucket: Bucket) -> None:
    """With a bound, the pictures that expire first make room in a bucket as well."""
    clock = Clock()
    store = make_store(bucket, clock, max_total_bytes=1000)
    for _ in range(15):
        clock.now += 1
        newest = await store.put(b"x" * 100, ".png")
        assert sum(map(len, bucket.objects.values())) <= 1000
    assert await store.get(newest) == b"x" * 100


async def test_a_kept_picture_is_no_failure_when_no_room_can_be_made(bucket: Bucket) -> None:
    """A picture that was kept is kept, though the old ones can't be deleted; the sweep tells the operator."""
    store = make_store(bucket, Clock(), max_total_bytes=1000)
    bucket.refuse = lambda seen: (403, "AccessDenied") if seen.method != "PUT" else None
    names = [await store.put(b"x" * 600, ".png") for _ in range(3)]
    assert len(bucket.objects) == len(names)
    with pytest.raises(CapabilityMissing):
        await store.sweep()


@pytest.mark.parametrize("endpoint", [f"http://{OSS}", f"http://{BUCKET}.{OSS}", f"http://{OSS}/"])
async def test_alibaba_gets_the_bucket_in_the_host(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """Alibaba's store, which refuses buckets in the path, is asked with the bucket in the host and single deletes."""
    monkeypatch.setenv("HTTP_PROXY", bucket.address)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    store = make_store(bucket, Clock(), environment={"AWS_ENDPOINT_URL": endpoint})
    name = await store.put(b"picture", ".png")
    assert await store.get(name) == b"picture"
    await store.delete(name)
    assert await store.sweep() == 0
    assert {seen.host for seen in bucket.seen} == {f"{BUCKET}.{OSS}"}
    assert [seen.path for seen in bucket.seen] == [*[f"/some/prefix/results/{name}"] * 3, "/"]


async def test_any_store_can_be_asked_with_the_bucket_in_the_host(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`AWS_VIRTUAL_HOSTED_STYLE_REQUEST` puts the bucket into the host of any endpoint."""
    monkeypatch.setenv("HTTP_PROXY", bucket.address)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    style = {"AWS_ENDPOINT_URL": "http://store.example.com:9000", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}
    name = await make_store(bucket, Clock(), environment=style).put(b"x", ".png")
    [seen] = bucket.seen
    assert (seen.host, seen.path) == (f"{BUCKET}.store.example.com:9000", f"/some/prefix/results/{name}")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "operator"),
        (403, "InvalidAccessKeyId", "operator"),
        (404, "NoSuchBucket", "operator"),
        (401, "Unauthorized", "operator"),
        (500, "InternalError", "try again later"),
        (503, "SlowDown", "try again later"),
        (301, "PermanentRedirect", "operator"),
    ],
)
async def test_a_refusal_is_told_without_its_details(bucket: Bucket, status: int, code: str, said: str) -> None:
    """A bucket that refuses is one sentence without key, path or host; the log learns the store's own code."""
    bucket.refuse = lambda _: (status, code)
    store = hasty(bucket)
    name = make_name(time.time() + 60, ".png")
    for work in (store.put(b"x", ".png"), store.get(name), store.delete(name), store.sweep()):
        with pytest.raises(CapabilityMissing, match=said) as caught:
            await work
        told = f"{caught.value.message} {caught.value.detail}"
        assert not re.search(rf"127\.0\.0\.1|{BUCKET}|{KEY_ID}|{SECRET}|{name}", told)
        if status != 301:
            assert code in str(caught.value.detail)


async def test_a_missing_picture_is_told_from_a_missing_bucket(bucket: Bucket) -> None:
    """Of a bucket that is there, a name without an object is only unknown."""
    assert await hasty(bucket).get(make_name(time.time() + 60, ".png")) is None


async def test_a_store_that_is_not_there_is_told(bucket: Bucket) -> None:
    """Nobody at the endpoint is a failure of the store, not a picture that has expired."""
    bucket.address = "http://127.0.0.1:1"
    store = hasty(bucket)
    for work in (store.put(b"x", ".png"), store.get(make_name(time.time() + 60, ".png")), store.sweep()):
        with pytest.raises(CapabilityMissing, match="can't be reached"):
            await work


async def test_a_short_trouble_is_waited_out(bucket: Bucket) -> None:
    """One failure of the store is tried again before anybody hears of it."""
    troubles = [(503, "SlowDown")]
    bucket.refuse = lambda _: troubles.pop() if troubles else None
    name = await make_store(bucket, Clock()).put(b"x", ".png")
    assert list(bucket.objects) == [f"some/prefix/results/{name}"]
    assert bucket.methods() == ["PUT", "PUT"]


async def test_the_event_loop_goes_on_while_the_store_is_slow(bucket: Bucket) -> None:
    """A store that takes its time holds up its own caller only."""
    bucket.delay_seconds = 0.3
    store = make_store(bucket, Clock())
    putting = asyncio.ensure_future(store.put(b"x", ".png"))
    turns = 0
    while not putting.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert turns > 20
    assert await store.get(await putting) == b"x"


@pytest.mark.parametrize(
    ("location", "environment", "said"),
    [
        ("gs://pictures", {}, "a folder or s3://bucket/prefix"),
        ("https://pictures.example.com", {}, "a folder or s3://bucket/prefix"),
        ("file:///tmp", {}, "a folder or s3://bucket/prefix"),
        (" ", {}, "a folder or s3://bucket/prefix"),
        ("s3://", {}, "lower-case"),
        ("s3://Pictures/x", {}, "lower-case"),
        ("s3://key:secret@pictures", {}, "lower-case"),
        ("s3://pictures//x", {}, "prefix"),
        ("s3://pictures/a/../b", {}, "prefix"),
        ("s3://pictures/a?region=x", {}, "prefix"),
        ("s3://pictures", {"AWS_ENDPOINT_URL": "oss-cn-hangzhou.aliyuncs.com"}, "AWS_ENDPOINT_URL"),
        ("s3://pictures", {"AWS_ENDPOINT_URL": "ftp://store"}, "AWS_ENDPOINT_URL"),
        ("s3://pictures", {"AWS_ENDPOINT": "https://user:secret@store"}, "AWS_ENDPOINT_URL"),
        ("s3://pictures", {"AWS_ENDPOINT_URL_S3": "https://store/?a=b"}, "AWS_ENDPOINT_URL"),
    ],
)
def test_a_location_that_is_none_is_told_in_one_clause(location: str, environment: dict[str, str], said: str) -> None:
    """A wrong location is refused before anything starts, in words that show nothing secret."""
    with pytest.raises(ValueError, match=said) as caught:
        open_store(location, "results", ttl_seconds=60, environment=environment)
    assert re.match("(must|needs) ", str(caught.value))
    assert "secret" not in str(caught.value)


def test_wrong_variables_are_told_in_one_clause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that obstore can't read is refused before anything starts."""
    monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", "perhaps")
    with pytest.raises(ValueError, match="AWS_ variables"):
        open_store("s3://pictures", "results", ttl_seconds=60)


async def test_a_folder_has_a_subfolder_for_each_kind(tmp_path: Path) -> None:
    """A folder, written as text or as a path, is used for what it is, and a file in its place is refused."""
    folder = tmp_path / "kept"
    results, files = open_store(str(folder), "results", ttl_seconds=60), open_store(folder, "files", ttl_seconds=60)
    names = {await results.put(b"r", ".png"): "results", await files.put(b"f", ".png"): "files"}
    assert {path.name: path.parent.name for path in folder.glob("*/*")} == names
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="must be a folder"):
        open_store(tmp_path / "file", "results", ttl_seconds=60)


def test_aws_itself_needs_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket at AWS is named by its location alone; the kind of picture is the last part of the prefix."""
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    store = open_store("s3://pictures/a/b/", "inputs", ttl_seconds=60)
    place = store._objects._store
    assert isinstance(place, S3Store)
    assert (place.prefix, place.config["bucket"]) == ("a/b/inputs", "pictures")

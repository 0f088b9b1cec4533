"""What the fake Google Cloud Storage keeps, and the rules that Google documents for it.

Owns buckets, objects with their generations, uploads in parts, accounts and their permissions. Knows no protocol: `gcs_xml.py` and
`gcs_grpc.py` speak over it. Written from Google's documentation (naming of buckets and objects, request preconditions,
object versioning, XML multipart uploads, hashes and ETags, IAM permissions), not from any client.
"""

import base64
import bisect
import hashlib
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field

import google_crc32c
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

MIN_PART, MAX_PARTS, MAX_KEY = 5 << 20, 10_000, 1024
OBJECT_RIGHTS = {f"storage.objects.{verb}" for verb in ("get", "list", "create", "delete")} | {f"storage.multipartUploads.{verb}" for verb in ("create", "abort", "list", "listParts")}
ROLES = {
    "admin": OBJECT_RIGHTS | {f"storage.buckets.{verb}" for verb in ("get", "update", "create")},
    "writer": OBJECT_RIGHTS,
    "looker": {"storage.objects.get", "storage.objects.list", "storage.buckets.get"},
}


class Refused(Exception):
    """A refusal: HTTP status, code of the XML API, message; `kind` names it for gRPC."""

    def __init__(self, status, code, message, kind=None):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.kind = kind or {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS", 412: "FAILED_PRECONDITION", 429: "RESOURCE_EXHAUSTED"}[status]


def no_object(bucket, name):
    return Refused(404, "NoSuchKey", f"No such object: {bucket}/{name}")


FAILED = Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")


@dataclass
class Object:
    name: str
    body: bytes
    generation: int
    headers: dict
    md5: bytes | None
    created: float
    deleted: float | None = None
    metageneration: int = 1

    @property
    def crc32c(self):
        return google_crc32c.value(self.body)

    @property
    def etag(self):
        """The MD5 of what went in one piece; of the rest only that it is no MD5 is said."""
        if self.md5 is not None:
            return f'"{self.md5.hex()}"'
        return '"-' + base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode() + '"'


@dataclass
class Upload:
    name: str
    headers: dict
    begun: float
    parts: dict = field(default_factory=dict)


@dataclass
class Bucket:
    name: str
    versioned: bool = False
    public: bool = False  # to be read by everybody
    open: bool = False  # as at an emulator: everybody may do everything
    pace: float = 0  # seconds that must lie between two mutations of one object; Google's are 1
    mutated: dict = field(default_factory=dict)  # name to when it was last put or deleted
    live: dict = field(default_factory=dict)
    old: dict = field(default_factory=dict)
    names: list = field(default_factory=list)
    uploads: dict = field(default_factory=dict)
    meta: object = None  # what the control plane stores, whole


class Store:
    def __init__(self):
        self.lock = threading.RLock()
        self.buckets, self.accounts, self.tokens, self.faults, self.undigested, self.seen = {}, {}, {}, [], [], []
        self.last = 0
        self.held = set()  # names under a temporary hold
        self.refreshes = {secrets.token_urlsafe(30): "admin"}  # what OAuth takes for a new token
        self.exchanged = []  # how each token was asked for
        self.slowed = 0  # mutations that came too soon

    # --- accounts ---
    def account(self, folder, role, known=True):
        """Writes the key file of a service account; one that is not `known` has a key that nobody checks in."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        email, kid = f"{role}@acme-1.iam.gserviceaccount.com", secrets.token_hex(20)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        text = {"type": "service_account", "project_id": "acme-1", "private_key_id": kid, "private_key": pem.decode(), "client_email": email,
                "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token"}
        path = folder / f"{role}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(text))
        if known:
            self.accounts[email] = (key.public_key(), role)
        return path

    def who(self, header):
        """The role of whoever sent this `Authorization`; none for nobody. A token that does not hold is refused."""
        if not header:
            return None
        wrong = Refused(401, "AuthenticationRequired", "Authentication required.")
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer":
            raise wrong
        if token in self.tokens:
            return self.tokens[token]
        try:
            head, claims, signature = token.split(".")
            decode = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
            said = json.loads(decode(claims))
            key, role = self.accounts[said["iss"]]
            key.verify(decode(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, KeyError, TypeError, InvalidSignature):
            raise wrong from None
        if said["exp"] < time.time() or "scope" not in said and "aud" not in said:
            raise wrong
        return role

    def allow(self, role, right, bucket=None):
        if bucket is not None and bucket.open:
            return
        if role is None and bucket is not None and bucket.public and right in ("storage.objects.get", "storage.objects.list"):
            return
        if role is None:
            raise Refused(401, "AuthenticationRequired", f"Anonymous caller does not have {right} access to the Google Cloud Storage bucket.")
        if right not in ROLES[role]:
            email = f"{role}@acme-1.iam.gserviceaccount.com"
            raise Refused(403, "AccessDenied", f"{email} does not have {right} access. Permission '{right}' denied on resource (or it may not exist).")

    # --- buckets ---
    def bucket(self, name):
        if name not in self.buckets:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
        return self.buckets[name]

    def make_bucket(self, name, **how):
        with self.lock:
            if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name) or name.startswith("goog") or "." not in name and len(name) > 63:
                raise Refused(400, "InvalidBucketName", f"Invalid bucket name: '{name}'")
            if name in self.buckets:
                raise Refused(409, "BucketAlreadyExists", "The requested bucket name is not available.")
            self.buckets[name] = Bucket(name, **how)
            return self.buckets[name]

    # --- objects ---
    @staticmethod
    def check_name(name):
        try:
            length = len(name.encode())
        except UnicodeEncodeError:
            raise Refused(400, "InvalidArgument", "Object names must be valid UTF-8.") from None
        if not 1 <= length <= MAX_KEY:
            raise Refused(400, "KeyTooLongError", "The object name is too long.")
        if "\r" in name or "\n" in name or name in (".", "..") or name.startswith(".well-known/acme-challenge/"):
            raise Refused(400, "InvalidArgument", "Invalid object name.")

    def next_generation(self):
        self.last = max(self.last + 1, time.time_ns() // 1000)
        return self.last

    @staticmethod
    def check(found, generation=None, metageneration=None):
        """Preconditions of an object that is there or not."""
        is_there = found.generation if found else 0
        if generation is not None and generation != is_there or metageneration is not None and metageneration != (found.metageneration if found else 0):
            raise FAILED

    def paced(self, bucket, name):
        """Creating, replacing and deleting count together, as Google has it."""
        now = time.monotonic()
        if bucket.pace and now - bucket.mutated.get(name, -bucket.pace) < bucket.pace:
            self.slowed += 1
            raise Refused(429, "SlowDown", f"The object {bucket.name}/{name} exceeded the rate limit for object mutation operations (create, update, and delete).")
        bucket.mutated[name] = now

    # --- OAuth ---
    def exchange(self, form):
        """A token for a signed assertion of a service account, or for a refresh token; with a status."""
        kind = form.get("grant_type", "")
        self.exchanged.append(kind)
        try:
            if kind == "urn:ietf:params:oauth:grant-type:jwt-bearer":
                role = self.who(f"Bearer {form['assertion']}")
            elif kind == "refresh_token" and form.get("client_id") and form.get("client_secret"):
                role = self.refreshes[form["refresh_token"]]
            else:
                return 400, {"error": "unsupported_grant_type"}
        except (Refused, KeyError):
            return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        token = secrets.token_urlsafe(40)
        self.tokens[token] = role
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    @staticmethod
    def digests(body, md5=None, crc32c=None):
        if md5 is not None and md5 != hashlib.md5(body).digest() or crc32c is not None and crc32c != google_crc32c.value(body):
            raise Refused(400, "BadDigest", "The CRC32C or MD5 you specified did not match what we computed.")

    def put(self, role, bucket, name, body, headers, generation=None, metageneration=None, in_parts=False):
        with self.lock:
            self.check_name(name)
            was = bucket.live.get(name)
            self.allow(role, "storage.objects.create", bucket)
            if was:
                self.allow(role, "storage.objects.delete", bucket)
            self.check(was, generation, metageneration)
            self.paced(bucket, name)
            made = Object(name, body, self.next_generation(), headers, None if in_parts else hashlib.md5(body).digest(), time.time())
            if was:
                self.archive(bucket, was)
            else:
                bisect.insort(bucket.names, name.encode())
            bucket.live[name] = made
            return made

    @staticmethod
    def archive(bucket, was):
        if bucket.versioned:
            was.deleted = time.time()
            bucket.old.setdefault(was.name, []).append(was)

    def find(self, role, bucket, name, generation=None):
        with self.lock:
            self.allow(role, "storage.objects.get", bucket)
            live = bucket.live.get(name)
            if generation is None or live and live.generation == generation:
                found = live
            else:
                found = next((old for old in bucket.old.get(name, []) if old.generation == generation), None)
            if found is None:
                raise no_object(bucket.name, name)
            return found

    def delete(self, role, bucket, name, generation=None, if_generation=None):
        with self.lock:
            self.allow(role, "storage.objects.delete", bucket)
            live, old = bucket.live.get(name), bucket.old.get(name, [])
            if name in self.held and (generation is not None or not bucket.versioned):
                raise Refused(403, "ObjectUnderActiveHold", f"Object '{bucket.name}/{name}' is under active Temporary hold and cannot be deleted, overwritten or archived until hold is removed.")
            if generation is None or live and live.generation == generation:
                if live is None:
                    raise no_object(bucket.name, name)
                self.check(live, if_generation)
                self.paced(bucket, name)
                del bucket.live[name]
                bucket.names.pop(bisect.bisect_left(bucket.names, name.encode()))
                if generation is None:
                    self.archive(bucket, live)
                return
            left = [one for one in old if one.generation != generation]
            if len(left) == len(old):
                raise no_object(bucket.name, name)
            bucket.old[name] = left

    def copy(self, role, bucket, source, target, generation=None, if_generation=None, to_generation=None):
        with self.lock:
            found = self.find(role, bucket, source, generation)
            self.check(found, if_generation)
            return self.put(role, bucket, target, found.body, found.headers, to_generation, in_parts=found.md5 is None)

    def page(self, role, bucket, prefix="", after=b"", start=b"", limit=1000, versions=False):
        """Objects in byte order of their names, and whether there are more."""
        with self.lock:
            self.allow(role, "storage.objects.list", bucket)
            names = sorted({*bucket.names, *(n.encode() for n, old in bucket.old.items() if old)}) if versions else bucket.names
            lead, found = prefix.encode(), []
            at = max(bisect.bisect_right(names, after) if after else 0, bisect.bisect_left(names, lead), bisect.bisect_left(names, start))
            while at < len(names) and names[at].startswith(lead):
                name = names[at].decode()
                here = (bucket.old.get(name, []) if versions else []) + [bucket.live[n] for n in (name,) if n in bucket.live]
                if found and len(found) + len(here) > limit:
                    return found, True
                found += here
                at += 1
            return found, False

    # --- uploads in parts ---
    def begin(self, role, bucket, name, headers):
        with self.lock:
            self.check_name(name)
            self.allow(role, "storage.multipartUploads.create", bucket)
            upload = secrets.token_urlsafe(40)
            bucket.uploads[upload] = Upload(name, headers, time.time())
            return upload

    @staticmethod
    def upload(bucket, name, upload):
        if upload not in bucket.uploads or bucket.uploads[upload].name != name:
            raise Refused(404, "NoSuchUpload", "The requested upload was not found.")
        return bucket.uploads[upload]

    def part(self, role, bucket, name, upload, number, body):
        with self.lock:
            self.allow(role, "storage.multipartUploads.create", bucket)
            if not 1 <= number <= MAX_PARTS:
                raise Refused(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
            self.upload(bucket, name, upload).parts[number] = body
            return hashlib.md5(body).hexdigest()

    def complete(self, role, bucket, name, upload, parts):
        with self.lock:
            kept = self.upload(bucket, name, upload)
            if not parts or [number for number, _ in parts] != sorted({number for number, _ in parts}):
                raise Refused(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
            for at, (number, etag) in enumerate(parts):
                if number not in kept.parts or hashlib.md5(kept.parts[number]).hexdigest() != etag.strip('"'):
                    raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found.")
                if at + 1 < len(parts) and len(kept.parts[number]) < MIN_PART:
                    raise Refused(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
            made = self.put(role, bucket, name, b"".join(kept.parts[number] for number, _ in parts), kept.headers, in_parts=True)
            del bucket.uploads[upload]
            return made

    def abort(self, role, bucket, name, upload):
        with self.lock:
            self.allow(role, "storage.multipartUploads.abort", bucket)
            self.upload(bucket, name, upload)
            del bucket.uploads[upload]

    def fault(self, path):
        """The status that a request is to fail with, as a test has asked for."""
        with self.lock:
            for fault in self.faults:
                if fault["path"] in path and fault["times"] > 0:
                    fault["times"] -= 1
                    return fault["status"]
        return None

"""What Backblaze B2 promises, as its documentation says it; no HTTP here.

Owns accounts' keys and tokens, buckets, versions of names, large files, and every rule that decides
about them. Contents are in memory. Everything runs under one lock but for the pauses that a test asks
for. Written from Backblaze's documentation of the native API, versions 2 to 4.
"""
import copy
import hashlib
import mimetypes
import random
import secrets
import threading
import time

CAPABILITIES = [
    "listKeys", "writeKeys", "deleteKeys", "listAllBucketNames", "listBuckets", "readBuckets", "writeBuckets", "deleteBuckets",
    "readBucketRetentions", "writeBucketRetentions", "readBucketEncryption", "writeBucketEncryption", "listFiles", "readFiles",
    "shareFiles", "writeFiles", "deleteFiles", "readFileLegalHolds", "writeFileLegalHolds", "readFileRetentions",
    "writeFileRetentions", "bypassGovernance",
]
TOKEN_LIFE = 24 * 3600
MAX_PARTS = 10_000
MAX_COPY = 5_000_000_000


class Refused(Exception):
    def __init__(self, status, code, message, retry_after=None):
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


def bad(message):
    return Refused(400, "bad_request", message)


def check_name(name):
    """File names: UTF-8 up to 1,024 bytes, no control characters, no backslash, parts of at most 250 bytes."""
    if not isinstance(name, str) or not name:
        raise bad("File names must contain at least one character")
    data = name.encode()
    if len(data) > 1024:
        raise bad("File name too long in utf8")
    if any(ord(c) < 32 for c in name):
        raise bad("File names must not contain characters with codes less than 32")
    if "\x7f" in name or "\\" in name:
        raise bad("File names must not contain DEL or backslash")
    if name.startswith("/") or name.endswith("/") or "//" in name:
        raise bad("File names must not start or end with '/', or contain '//'")
    if any(len(part) > 250 for part in data.split(b"/")):
        raise bad("File names segment too long: at most 250 bytes")


def check_lifecycle(rules):
    if len(rules) > 100:
        raise bad("More than 100 lifecycle rules")
    for rule in rules:
        if not isinstance(rule.get("fileNamePrefix"), str):
            raise bad("fileNamePrefix is required")
        known = ("daysFromHidingToDeleting", "daysFromUploadingToHiding", "daysFromStartingToCancelingUnfinishedLargeFiles")
        unknown = set(rule) - {*known, "fileNamePrefix"}
        if unknown:
            raise bad(f"unknown field in lifecycle rule: {sorted(unknown)}")
        values = [rule.get(name) for name in known]
        if all(value is None for value in values):
            raise bad("A lifecycle rule must do something")
        if any(value is not None and (not isinstance(value, int) or value < 1) for value in values):
            raise bad("Days in lifecycle rules must be positive")
    prefixes = [rule["fileNamePrefix"] for rule in rules]
    for i, one in enumerate(prefixes):
        for other in prefixes[i + 1:]:
            if one.startswith(other) or other.startswith(one):
                raise bad(f"Lifecycle rules '{one}' and '{other}' both apply to the same files")


class Rules:
    def __init__(self, key_id, key, min_part):
        self.lock = threading.RLock()
        self.account = secrets.token_hex(6)
        self.min_part = min_part
        self.keys = {key_id: {"secret": key, "capabilities": CAPABILITIES, "buckets": None, "prefix": None, "name": "master"}}
        self.tokens, self.uploads = {}, {}
        self.buckets = {}  # id -> bucket; its "files": name -> versions, in the order in which they became visible
        self.ids = {}  # file id -> (bucket id, version)
        self.faults, self.counts, self.races, self.stamps = [], {}, {}, {}
        self.moods = {}  # key to the chance that decides about its answers
        self.serial = 0

    # --- keys and tokens ---
    def authorize(self, key_id, secret):
        key = self.keys.get(key_id)
        if key is None or key["secret"] != secret:
            raise Refused(401, "unauthorized", "The applicationKeyId and/or the applicationKey are wrong.")
        token = "4_" + secrets.token_urlsafe(40)
        self.tokens[token] = {"key": key_id, "until": time.time() + TOKEN_LIFE}
        return token, key

    def who(self, token):
        """The key behind a token: its id and what it may do."""
        held = self.tokens.get(token)
        if held is None or held["key"] not in self.keys:
            raise Refused(401, "bad_auth_token", "Invalid authorization token")
        if held["until"] < time.time():
            raise Refused(401, "expired_auth_token", "Authorization token has expired")
        return held["key"], self.keys[held["key"]]

    def may(self, key, capability, bucket=None, name=None):
        """Refuses what a key may not do: the capability, the bucket, the beginning of names."""
        if capability not in key["capabilities"]:
            raise Refused(401, "unauthorized", f"unauthorized for application key with capabilities '{','.join(key['capabilities'])}'")
        if bucket is not None and key["buckets"] is not None and bucket not in key["buckets"]:
            raise Refused(401, "unauthorized", "Application key is restricted to other buckets")
        if name is not None and key["prefix"] and not name.startswith(key["prefix"]):
            raise Refused(401, "unauthorized", f"Application key is restricted to names that begin with '{key['prefix']}'")

    def new_key(self, capabilities, buckets, prefix, name):
        unknown = set(capabilities) - set(CAPABILITIES)
        if unknown or not capabilities:
            raise bad(f"unknown capabilities: {sorted(unknown)}")
        if prefix and not buckets:
            raise bad("namePrefix needs a bucket")
        for bucket in buckets or []:
            self.bucket(bucket)
        key_id, secret = "00" + secrets.token_hex(11), "K" + secrets.token_urlsafe(22)
        self.keys[key_id] = {"secret": secret, "capabilities": capabilities, "buckets": buckets, "prefix": prefix, "name": name}
        return key_id, secret

    # --- buckets ---
    def bucket(self, bucket_id):
        if bucket_id not in self.buckets:
            raise Refused(400, "bad_bucket_id", f"Bucket {bucket_id} does not exist")
        return self.buckets[bucket_id]

    def bucket_named(self, name):
        for bucket in self.buckets.values():
            if bucket["name"].lower() == name.lower():
                return bucket
        return None

    def new_bucket(self, name, kind, rules, lock, info):
        fits = isinstance(name, str) and 6 <= len(name) <= 63 and all(c.isascii() and (c.isalnum() or c == "-") for c in name)
        if not fits or name.lower().startswith("b2-"):
            raise bad("Invalid bucketName")
        if kind not in ("allPrivate", "allPublic"):
            raise bad("Invalid bucketType")
        if self.bucket_named(name):
            raise Refused(400, "duplicate_bucket_name", "Bucket name is already in use.")
        check_lifecycle(rules)
        bucket_id = secrets.token_hex(12)
        self.buckets[bucket_id] = {
            "id": bucket_id, "name": name, "type": kind, "rules": rules, "lock": lock, "retention": None, "info": info, "revision": 2, "files": {},
        }
        return self.buckets[bucket_id]

    def update_bucket(self, bucket, changes):
        wanted = changes.get("ifRevisionIs")
        if wanted is not None and wanted != bucket["revision"]:
            raise Refused(409, "conflict", "ifRevisionIs does not match the bucket's revision")
        new = {name: bucket[name] for name in ("type", "rules", "lock", "retention", "info")}
        if changes.get("bucketType") is not None:
            if changes["bucketType"] not in ("allPrivate", "allPublic"):
                raise bad("Invalid bucketType")
            new["type"] = changes["bucketType"]
        if changes.get("lifecycleRules") is not None:
            check_lifecycle(changes["lifecycleRules"])
            new["rules"] = changes["lifecycleRules"]
        if changes.get("defaultServerSideEncryption") is not None:
            how = changes["defaultServerSideEncryption"]
            if how.get("mode") not in (None, "SSE-B2") or how.get("mode") and how.get("algorithm") != "AES256":
                raise bad("Invalid defaultServerSideEncryption")
            new["encryption"] = how
        if changes.get("bucketInfo") is not None:
            new["info"] = changes["bucketInfo"]
        if changes.get("fileLockEnabled") is not None:
            if bucket["lock"] and not changes["fileLockEnabled"]:
                raise bad("Object Lock cannot be disabled")
            new["lock"] = changes["fileLockEnabled"]
        if changes.get("defaultRetention") is not None:
            retention = changes["defaultRetention"]
            if not new["lock"]:
                raise bad("The bucket is not Object Lock enabled")
            period = retention.get("period") or {}
            fits = retention.get("mode") in ("governance", "compliance") and period.get("unit") in ("days", "years") and period.get("duration", 0) >= 1
            if retention.get("mode") is not None and not fits:
                raise bad("Invalid defaultRetention")
            new["retention"] = retention if retention.get("mode") else None
        bucket.update(copy.deepcopy(new))
        bucket["revision"] += 1

    # --- versions ---
    def new_version(self, bucket, name, action, key_id, **what):
        """A version with its id and timestamp; not visible yet."""
        check_name(name)
        with self.lock:
            self.serial += 1
            race = self.races.get(key_id, {})
            stamp = int(time.time() * 1000) + random.randint(-race.get("skew_ms", 0), race.get("skew_ms", 0))
            if not race:
                # What is uploaded after the answer to another upload of the name is later, also within one millisecond.
                stamp = self.stamps[name] = max(stamp, self.stamps.get(name, 0) + 1)
            day = time.strftime("d%Y%m%d_m%H%M%S", time.gmtime(stamp / 1000))
            kind = "f2" if action == "start" else "f1"
            file_id = f"4_z{bucket['id']}_{kind}{secrets.token_hex(8)}_{day}_c001_v0001{self.serial:07d}_t0000_u{stamp:014d}"
        version = {"id": file_id, "name": name, "action": action, "at": stamp, "data": b"", "sha1": None, "type": None, "info": {}, "retention": None}
        version.update(what)
        if version["type"] == "b2/x-auto":
            version["type"] = mimetypes.guess_type(name)[0] or "application/octet-stream"
        kept = bucket["retention"]
        if kept and action == "upload":
            days = kept["period"]["duration"] * (365 if kept["period"]["unit"] == "years" else 1)
            version["retention"] = {"mode": kept["mode"], "retainUntilTimestamp": stamp + days * 86_400_000}
        return version

    def publish(self, bucket, version, key_id):
        """Makes a version visible; a test can ask for pauses around that."""
        pause = self.races.get(key_id, {}).get("pause_ms", 0) / 1000
        if pause:
            time.sleep(random.uniform(0, pause))
        with self.lock:
            bucket["files"].setdefault(version["name"], []).append(version)
            self.ids[version["id"]] = (bucket["id"], version)
        if pause:
            time.sleep(random.uniform(0, pause))

    def find(self, file_id):
        if file_id not in self.ids:
            raise Refused(400, "bad_request", f"Bad fileId: {file_id}")
        bucket_id, version = self.ids[file_id]
        return self.bucket(bucket_id), version

    def remove(self, bucket, version):
        versions = bucket["files"][version["name"]]
        versions.remove(version)
        if not versions:
            del bucket["files"][version["name"]]
        del self.ids[version["id"]]

    def newest_first(self, bucket, name):
        return sorted(bucket["files"].get(name, []), key=lambda v: (-v["at"], v["id"]))

    def current(self, bucket, name):
        for version in self.newest_first(bucket, name):
            if version["action"] != "start":
                return version if version["action"] == "upload" else None
        return None

    def hide(self, bucket, name, key_id):
        finished = [v for v in self.newest_first(bucket, name) if v["action"] != "start"]
        if not finished:
            raise Refused(400, "no_such_file", f"File not present: {name}")
        if finished[0]["action"] == "hide":
            raise Refused(400, "already_hidden", f"{name}: already hidden")
        marker = self.new_version(bucket, name, "hide", key_id)
        # A marker hides what is there, whatever the clocks of several servers say.
        marker["at"] = max(marker["at"], finished[0]["at"] + 1)
        self.publish(bucket, marker, None)
        return marker

    def delete(self, key, name, file_id, bypass):
        if file_id not in self.ids:
            raise Refused(400, "file_not_present", f"File not present: {name} {file_id}")
        bucket, version = self.find(file_id)
        self.may(key, "deleteFiles", bucket["id"], version["name"])
        if version["name"] != name:
            raise Refused(400, "file_not_present", f"File not present: {name} {file_id}")
        kept = version["retention"]
        if kept and kept["retainUntilTimestamp"] > time.time() * 1000:
            governed = kept["mode"] == "governance" and bypass and "bypassGovernance" in key["capabilities"]
            if not governed:
                raise Refused(401, "access_denied", "Access Denied: the file is protected by its retention")
        self.remove(bucket, version)

    def listing(self, bucket, prefix, delimiter, start, start_id, most, all_versions):
        """Entries in order, and from where to go on."""
        most = min(int(most or 100), 10_000)
        found, folders = [], set()
        for name in sorted(bucket["files"], key=str.encode):
            if not name.startswith(prefix) or start is not None and name.encode() < start.encode() and not (delimiter and start.startswith(name)):
                continue
            versions = self.newest_first(bucket, name)
            if not all_versions:
                versions = [v for v in versions[:] if v is self.current(bucket, name)]
            if not versions:
                continue
            rest = name[len(prefix):]
            if delimiter and delimiter in rest:
                folder = prefix + rest.split(delimiter)[0] + delimiter
                if folder not in folders and (start is None or folder.encode() >= start.encode()):
                    folders.add(folder)
                    found.append({"name": folder, "action": "folder", "id": None})
                continue
            if start_id is not None and name == start:
                versions = versions[next((i for i, v in enumerate(versions) if v["id"] == start_id), 0):]
            found.extend(versions)
            if len(found) > most:
                break
        rest = found[most:]
        return found[:most], (rest[0]["name"], rest[0]["id"]) if rest else (None, None)

    # --- large files ---
    def unfinished(self, file_id):
        if file_id not in self.ids or self.ids[file_id][1]["action"] != "start":
            raise bad(f"No active upload for: {file_id}")
        return self.find(file_id)

    def add_part(self, version, number, data):
        if not 1 <= number <= MAX_PARTS:
            raise bad("Part number must be between 1 and 10000")
        sha1 = hashlib.sha1(data).hexdigest()
        version["parts"][number] = (sha1, data, int(time.time() * 1000))
        return sha1

    def finish(self, bucket, version, sha1s):
        parts = version["parts"]
        if len(sha1s) < 2:
            raise bad("A large file has at least 2 parts")
        if sorted(parts) != list(range(1, len(sha1s) + 1)):
            raise bad("Part numbers are not 1 to the number of sha1s")
        for number, sha1 in enumerate(sha1s, 1):
            if parts[number][0] != sha1:
                raise bad(f"sha1 of part {number} did not match")
            if number < len(sha1s) and len(parts[number][1]) < self.min_part:
                raise bad(f"Part {number} is smaller than the minimum of {self.min_part} bytes")
        version["data"] = b"".join(parts[number][1] for number in sorted(parts))
        version["action"], version["sha1"] = "upload", None
        del version["parts"]

    # --- what tests ask for ---
    def fault(self, key_id, call):
        """The fault that is due for a call of a key, if there is one."""
        with self.lock:
            for fault in self.faults:
                if fault["key"] == key_id and fault["call"] == call and fault["times"] > 0:
                    if fault.get("skip", 0) > 0:
                        fault["skip"] -= 1
                        return None
                    fault["times"] -= 1
                    return fault
        return None

    def mood(self, key_id, call):
        """A busy answer that nobody asked for, one in twelve: as with Backblaze an upload's host says 503, the others that or 429. A seed decides."""
        with self.lock:
            chance = self.moods.get(key_id)
            if chance is None or chance.random() >= 1 / 12:
                return None
            if call.startswith("b2_upload_") or chance.random() < 0.5:
                return {"status": 503, "code": "service_unavailable", "message": "no tomes available"}
            return {"status": 429, "code": "too_many_requests", "message": "please slow down", "retry_after": 1}

    def count(self, key_id, call):
        with self.lock:
            self.counts.setdefault(key_id, {}).setdefault(call, 0)
            self.counts[key_id][call] += 1

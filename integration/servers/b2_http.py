"""Backblaze's native API over HTTP, on `b2_rules.py`. For tests only: no TLS, contents in memory.

    B2_EMULATOR_KEY_ID=… B2_EMULATOR_KEY=… b2_http.py PORT [UPLOADS DOWNLOADS]

Routes: /b2api/v2|v3|v4/NAME, /b2up/… (upload URLs), /file/BUCKET/NAME, and /control for tests:
faults of one key's calls, tokens and upload URLs that run out, pauses and skewed timestamps, moods, counts.
With three ports each kind of call has a host of its own, as with Backblaze, and is not found at the others.
"""
import base64
import hashlib
import json
import os
import random
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

import b2_shown
from b2_rules import MAX_COPY, Refused, Rules, bad
from b2_shown import shown, shown_bucket, shown_key

RULES = None
PORTS = []
HEADERS = {"b2-content-disposition": "Content-Disposition", "b2-content-language": "Content-Language", "b2-expires": "Expires",
           "b2-cache-control": "Cache-Control", "b2-content-encoding": "Content-Encoding"}


def pod(base, which):
    """The base URL of another kind of host: 1 takes uploads, 2 gives downloads."""
    return f"{base.rpartition(':')[0]}:{PORTS[which]}" if len(PORTS) > which else base


class Api:
    """Each method is one call of the API: what the JSON body says, and under which key."""

    def __init__(self, base, version, key_id, key):
        self.base, self.version, self.key_id, self.key = base, version, key_id, key

    def bucket(self, body, capability, name=None):
        bucket = RULES.bucket(body.get("bucketId"))
        RULES.may(self.key, capability, bucket["id"], name)
        return bucket

    def b2_list_buckets(self, body):
        RULES.may(self.key, "listBuckets")
        named, by_id = body.get("bucketName"), body.get("bucketId")
        buckets = [b for b in RULES.buckets.values() if named in (None, b["name"]) and by_id in (None, b["id"])]
        if self.key["buckets"] is not None:
            asked = [b for b in RULES.buckets.values() if b["id"] in self.key["buckets"] and (b["name"] == named or b["id"] == by_id)]
            if not asked:
                raise Refused(401, "unauthorized", "the key is restricted to a bucket, which must be named")
            buckets = asked
        return {"buckets": [shown_bucket(b, self.key) for b in sorted(buckets, key=lambda b: b["name"])]}

    def b2_create_bucket(self, body):
        RULES.may(self.key, "writeBuckets")
        if self.key["buckets"] is not None:
            raise Refused(401, "unauthorized", "the key is restricted to a bucket")
        bucket = RULES.new_bucket(body.get("bucketName"), body.get("bucketType"), body.get("lifecycleRules") or [], bool(body.get("fileLockEnabled")), body.get("bucketInfo") or {})
        return shown_bucket(bucket, self.key)

    def b2_update_bucket(self, body):
        bucket = self.bucket(body, "writeBuckets")
        if body.get("defaultRetention") is not None or body.get("fileLockEnabled") is not None:
            RULES.may(self.key, "writeBucketRetentions", bucket["id"])
        if body.get("defaultServerSideEncryption") is not None:
            RULES.may(self.key, "writeBucketEncryption", bucket["id"])
        RULES.update_bucket(bucket, body)
        return shown_bucket(bucket, self.key)

    def b2_delete_bucket(self, body):
        bucket = self.bucket(body, "deleteBuckets")
        if bucket["files"]:
            raise Refused(400, "cannot_delete_non_empty_bucket", "Cannot delete non-empty bucket")
        del RULES.buckets[bucket["id"]]
        return shown_bucket(bucket, self.key)

    def b2_create_key(self, body):
        RULES.may(self.key, "writeKeys")
        buckets = body.get("bucketIds") or ([body["bucketId"]] if body.get("bucketId") else None)
        key_id, secret = RULES.new_key(body.get("capabilities") or [], buckets, body.get("namePrefix"), body.get("keyName"))
        return {**shown_key(key_id, RULES.keys[key_id], self.version), "applicationKey": secret}

    def b2_list_keys(self, body):
        RULES.may(self.key, "listKeys")
        return {"keys": [shown_key(i, k, self.version) for i, k in RULES.keys.items() if k["name"] != "master"], "nextApplicationKeyId": None}

    def b2_delete_key(self, body):
        RULES.may(self.key, "deleteKeys")
        key = RULES.keys.pop(body.get("applicationKeyId"), None)
        if key is None:
            raise bad("no such key")
        return shown_key(body["applicationKeyId"], key, self.version)

    def b2_get_upload_url(self, body):
        bucket = self.bucket(body, "writeFiles")
        return {"bucketId": bucket["id"], **self.upload_place({"bucket": bucket["id"]})}

    def b2_get_upload_part_url(self, body):
        bucket, version = RULES.unfinished(body.get("fileId"))
        RULES.may(self.key, "writeFiles", bucket["id"], version["name"])
        return {"fileId": version["id"], **self.upload_place({"file": version["id"]})}

    def upload_place(self, what):
        place, token = secrets.token_hex(8), "4_" + secrets.token_urlsafe(30)
        RULES.uploads[place] = {**what, "token": token, "key": self.key_id, "busy": False, "expired": False}
        return {"uploadUrl": f"{pod(self.base, 1)}/b2up/{place}", "authorizationToken": token}

    def list(self, body, all_versions):
        prefix = body.get("prefix") or ""
        bucket = self.bucket(body, "listFiles", prefix)
        if body.get("startFileId") and not body.get("startFileName"):
            raise bad("startFileId requires startFileName")
        found, (name, file_id) = RULES.listing(bucket, prefix, body.get("delimiter"), body.get("startFileName"), body.get("startFileId"), body.get("maxFileCount"), all_versions)
        answer = {"files": [shown(bucket, v, self.key) for v in found], "nextFileName": name}
        return {**answer, "nextFileId": file_id} if all_versions else answer

    def b2_list_file_names(self, body):
        return self.list(body, False)

    def b2_list_file_versions(self, body):
        return self.list(body, True)

    def b2_list_unfinished_large_files(self, body):
        prefix = body.get("namePrefix") or ""
        bucket = self.bucket(body, "listFiles", prefix)
        found = [v for name in sorted(bucket["files"], key=str.encode) for v in bucket["files"][name] if v["action"] == "start" and name.startswith(prefix)]
        ids = [v["id"] for v in found]
        found = found[ids.index(body["startFileId"]) if body.get("startFileId") in ids else 0:]
        most = min(int(body.get("maxFileCount") or 100), 100)
        return {"files": [shown(bucket, v, self.key) for v in found[:most]], "nextFileId": found[most]["id"] if len(found) > most else None}

    def b2_get_file_info(self, body):
        bucket, version = RULES.find(body.get("fileId"))
        RULES.may(self.key, "readFiles", bucket["id"], version["name"])
        return shown(bucket, version, self.key)

    def b2_hide_file(self, body):
        bucket = self.bucket(body, "writeFiles", body.get("fileName"))
        return shown(bucket, RULES.hide(bucket, body.get("fileName"), self.key_id), self.key)

    def b2_delete_file_version(self, body):
        RULES.may(self.key, "deleteFiles")
        RULES.delete(self.key, body.get("fileName"), body.get("fileId"), bool(body.get("bypassGovernance")))
        return {"fileId": body["fileId"], "fileName": body["fileName"]}

    def b2_start_large_file(self, body):
        bucket = self.bucket(body, "writeFiles", body.get("fileName"))
        if not body.get("contentType"):
            raise bad("contentType is required")
        version = RULES.new_version(bucket, body.get("fileName"), "start", self.key_id, type=body["contentType"], info=body.get("fileInfo") or {}, parts={})
        RULES.publish(bucket, version, None)
        return shown(bucket, version, self.key)

    def b2_list_parts(self, body):
        bucket, version = RULES.unfinished(body.get("fileId"))
        RULES.may(self.key, "writeFiles", bucket["id"], version["name"])
        start = body.get("startPartNumber") or 1
        parts = [{"fileId": version["id"], "partNumber": n, "contentLength": len(data), "contentSha1": sha1, "uploadTimestamp": at}
                 for n, (sha1, data, at) in sorted(version["parts"].items()) if n >= start]
        most = min(int(body.get("maxPartCount") or 100), 1000)
        return {"parts": parts[:most], "nextPartNumber": parts[most]["partNumber"] if len(parts) > most else None}

    def b2_finish_large_file(self, body):
        bucket, version = RULES.unfinished(body.get("fileId"))
        RULES.may(self.key, "writeFiles", bucket["id"], version["name"])
        RULES.finish(bucket, version, body.get("partSha1Array") or [])
        return shown(bucket, version, self.key)

    def b2_cancel_large_file(self, body):
        bucket, version = RULES.unfinished(body.get("fileId"))
        RULES.may(self.key, "writeFiles", bucket["id"], version["name"])
        RULES.remove(bucket, version)
        return {"fileId": version["id"], "accountId": RULES.account, "bucketId": bucket["id"], "fileName": version["name"]}

    def source(self, body):
        file_id = body.get("sourceFileId")
        if file_id not in RULES.ids:
            raise Refused(404, "not_found", f"The source file {file_id} is not found")
        bucket, version = RULES.find(file_id)
        if version["action"] != "upload":
            raise bad("The source is no file")
        RULES.may(self.key, "readFiles", bucket["id"], version["name"])
        data = version["data"]
        if body.get("range"):
            start, end = body["range"].removeprefix("bytes=").split("-")
            if int(start) > int(end) or int(start) >= len(data):
                raise Refused(416, "range_not_satisfiable", "Range not satisfiable")
            data = data[int(start):int(end) + 1]
        return bucket, version, data

    def b2_copy_file(self, body):
        home, source, data = self.source(body)
        bucket = RULES.bucket(body.get("destinationBucketId") or home["id"])
        RULES.may(self.key, "writeFiles", bucket["id"], body.get("fileName"))
        if len(data) > MAX_COPY:
            raise bad("Copy source too big")
        replace = body.get("metadataDirective") == "REPLACE"
        if replace and not body.get("contentType"):
            raise bad("REPLACE needs a contentType")
        if not replace and (body.get("contentType") or body.get("fileInfo")):
            raise bad("contentType and fileInfo are for REPLACE only")
        described = {"type": body["contentType"], "info": body.get("fileInfo") or {}} if replace else {"type": source["type"], "info": source["info"]}
        version = RULES.new_version(bucket, body.get("fileName"), "upload", self.key_id, data=data, sha1=hashlib.sha1(data).hexdigest(), **described)
        RULES.publish(bucket, version, None)
        return {**shown(bucket, version, self.key), "action": "copy"}

    def b2_copy_part(self, body):
        _, _, data = self.source(body)
        bucket, version = RULES.unfinished(body.get("largeFileId"))
        RULES.may(self.key, "writeFiles", bucket["id"], version["name"])
        sha1 = RULES.add_part(version, int(body.get("partNumber") or 0), data)
        return {"fileId": version["id"], "partNumber": body["partNumber"], "contentLength": len(data), "contentSha1": sha1}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.handle_one()

    do_POST = do_HEAD = do_GET

    def handle_one(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        try:
            self.is_here(url.path)
            if url.path == "/control":
                answer = self.control(dict(parse_qsl(url.query)))
            elif url.path.startswith("/b2api/"):
                answer = self.api(url)
            elif url.path.startswith("/b2up/"):
                answer = self.upload(url.path.split("/")[2])
            elif url.path.startswith("/file/"):
                bucket, _, name = url.path.removeprefix("/file/").partition("/")
                return self.by_name(unquote_plus(bucket), unquote_plus(name))
            else:
                raise Refused(404, "not_found", "no such call")
            if answer is not None:
                self.answer(200, json.dumps(answer).encode())
        except Refused as refused:
            text = {"status": refused.status, "code": refused.code, "message": refused.message}
            extra = {"Retry-After": str(refused.retry_after)} if refused.retry_after is not None else {}
            self.answer(refused.status, json.dumps(text).encode(), extra)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.answer(400, json.dumps({"status": 400, "code": "bad_request", "message": f"{type(error).__name__}: {error}"}).encode())

    def answer(self, status, body, headers=(), kind="application/json", length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Content-Type", kind)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def base(self):
        return f"http://{self.headers['Host'].partition(':')[0]}:{PORTS[0]}"

    def is_here(self, path):
        """Each kind of call has its host."""
        wanted = 1 if path.startswith("/b2up/") else 2 if path.startswith("/file/") or path.endswith("/b2_download_file_by_id") else 0
        here = PORTS.index(self.server.server_address[1])
        if len(PORTS) > 1 and here != wanted:
            raise Refused(404, "not_found", "not on this host")

    def faulty(self, key_id, call, do):
        """Counts a call and does it, or the fault that is due; a fault `after` comes when it is done."""
        RULES.count(key_id, call)
        fault = RULES.fault(key_id, call) or RULES.mood(key_id, call)
        if fault and fault.get("cut"):
            if fault.get("after"):
                do()
            self.close_connection = True
            self.connection.close()
            return None
        refused = fault and Refused(fault["status"], fault.get("code", ""), fault.get("message", "injected"), fault.get("retry_after"))
        if refused and not fault.get("after"):
            raise refused
        done = do()
        if refused:
            raise refused
        return done

    def api(self, url):
        _, _, version, name = url.path.split("/")
        body = json.loads(self.body) if self.body else dict(parse_qsl(url.query))
        if name == "b2_authorize_account":
            return self.authorize(int(version[1:]))
        if name == "b2_download_file_by_id":
            return self.by_id(body.get("fileId") or dict(parse_qsl(url.query)).get("fileId"))
        with RULES.lock:
            key_id, key = RULES.who(self.headers.get("Authorization"))
        call = getattr(Api(self.base(), int(version[1:]), key_id, key), name if name.startswith("b2_") else "", None)
        if call is None:
            raise Refused(404, "not_found", f"no call {name}")

        def do():
            with RULES.lock:
                return call(body)

        return self.faulty(key_id, name, do)

    def authorize(self, version):
        scheme, _, pair = (self.headers.get("Authorization") or "").partition(" ")
        key_id, _, secret = base64.b64decode(pair).decode().partition(":") if scheme == "Basic" else ("", "", "")
        with RULES.lock:
            token, key = RULES.authorize(key_id, secret)
            buckets = None if key["buckets"] is None else [{"id": b, "name": RULES.buckets[b]["name"] if b in RULES.buckets else None} for b in key["buckets"]]
        one = buckets[0] if buckets else {"id": None, "name": None}
        sizes = {"absoluteMinimumPartSize": RULES.min_part, "recommendedPartSize": RULES.min_part}
        urls = {"apiUrl": self.base(), "downloadUrl": pod(self.base(), 2), "s3ApiUrl": self.base()}
        allowed = {"capabilities": key["capabilities"], "namePrefix": key["prefix"]}
        answer = {"accountId": RULES.account, "authorizationToken": token, "applicationKeyExpirationTimestamp": None}
        if version == 2:
            answer |= {**sizes, **urls, "allowed": {**allowed, "bucketId": one["id"], "bucketName": one["name"]}}
        elif version == 3:
            answer["apiInfo"] = {"storageApi": {**sizes, **urls, **allowed, "bucketId": one["id"], "bucketName": one["name"], "infoType": "storageApi"}}
        else:
            answer["apiInfo"] = {"storageApi": {**sizes, **urls, "allowed": {**allowed, "buckets": buckets}, "infoType": "storageApi"}}
        return self.faulty(key_id, "b2_authorize_account", lambda: answer)

    # --- uploads ---
    def upload(self, place_id):
        place = RULES.uploads.get(place_id)
        if place is None or place["token"] != self.headers.get("Authorization"):
            raise Refused(401, "bad_auth_token", "Invalid upload token")
        if place["expired"]:
            raise Refused(401, "expired_auth_token", "Upload token has expired")
        with RULES.lock:
            if place["busy"]:
                raise bad("more than one upload at once with one upload URL")
            place["busy"] = True
        try:
            key = RULES.keys[place["key"]]
            part = "file" in place
            return self.faulty(place["key"], "b2_upload_part" if part else "b2_upload_file", lambda: self.part(place) if part else self.file(place, key))
        finally:
            place["busy"] = False

    def checked(self):
        """The body, as its sha1 says it shall be; and the sha1 as it is shown later."""
        wanted, data = self.headers.get("X-Bz-Content-Sha1"), self.body
        if wanted == "hex_digits_at_end":
            data, wanted = data[:-40], data[-40:].decode()
        sha1 = hashlib.sha1(data).hexdigest()
        if wanted == "do_not_verify":
            return data, f"unverified:{sha1}"
        if wanted is None or len(wanted) != 40:
            raise bad("Missing or bad X-Bz-Content-Sha1")
        if wanted != sha1:
            raise bad("Sha1 did not match data received")
        return data, sha1

    def file(self, place, key):
        name = unquote_plus(self.headers["X-Bz-File-Name"])
        bucket = RULES.bucket(place["bucket"])
        RULES.may(key, "writeFiles", bucket["id"], name)
        data, sha1 = self.checked()
        infos = [(k.lower().removeprefix("x-bz-info-"), unquote_plus(v)) for k, v in self.headers.items() if k.lower().startswith("x-bz-info-")]
        if sum(len(k) + len(v) for k, v in infos) > 7000 or len(infos) > 10:
            raise bad("Too much file info")
        version = RULES.new_version(bucket, name, "upload", place["key"], data=data, sha1=sha1, type=self.headers["Content-Type"], info=dict(infos))
        RULES.publish(bucket, version, place["key"])
        return shown(bucket, version, key)

    def part(self, place):
        with RULES.lock:
            _, version = RULES.unfinished(place["file"])
        data, _ = self.checked()
        number = int(self.headers["X-Bz-Part-Number"])
        with RULES.lock:
            sha1 = RULES.add_part(version, number, data)
        return {"fileId": version["id"], "partNumber": number, "contentLength": len(data), "contentSha1": sha1, "contentMd5": None}

    # --- downloads ---
    def by_name(self, bucket_name, name):
        try:
            with RULES.lock:
                bucket = RULES.bucket_named(bucket_name)
                key_id, key = self.reader(bucket, name)
                if bucket is None:
                    raise Refused(404, "not_found", f"Bucket does not exist: {bucket_name}")
                version = RULES.current(bucket, name)
            if version is None:
                RULES.count(key_id, "b2_download_file_by_name")
                raise Refused(404, "not_found", f"File with such name does not exist: {bucket_name}/{name}")
            return self.faulty(key_id, "b2_download_file_by_name", lambda: self.content(version, key_id))
        except Refused as refused:
            text = {"status": refused.status, "code": refused.code, "message": refused.message}
            return self.answer(refused.status, json.dumps(text).encode())

    def by_id(self, file_id):
        with RULES.lock:
            if file_id not in RULES.ids:
                raise Refused(404 if str(file_id).startswith("4_z") else 400, "not_found" if str(file_id).startswith("4_z") else "bad_request", f"Bad fileId: {file_id}")
            bucket, version = RULES.find(file_id)
            key_id, _ = self.reader(bucket, version["name"])
            if version["action"] != "upload":
                raise bad("not a file")
        return self.faulty(key_id, "b2_download_file_by_id", lambda: self.content(version, key_id))

    def reader(self, bucket, name):
        if bucket is not None and bucket["type"] == "allPublic" and not self.headers.get("Authorization"):
            return "", None
        key_id, key = RULES.who(self.headers.get("Authorization"))
        RULES.may(key, "readFiles", bucket and bucket["id"], name)
        return key_id, key

    def content(self, version, key_id):
        data, status, extra = version["data"], 200, {}
        wanted = self.headers.get("Range")
        if wanted and self.command != "HEAD":
            first, last = wanted.removeprefix("bytes=").split("-")
            start = int(first) if first else max(len(data) - int(last), 0)
            end = min(int(last), len(data) - 1) if first and last else len(data) - 1
            if start > end:
                raise Refused(416, "range_not_satisfiable", "The Range in the request is outside the size of the file")
            status, extra = 206, {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
            data = data[start:end + 1]
        headers = {"X-Bz-File-Id": version["id"], "X-Bz-File-Name": quote(version["name"], safe="/"), "X-Bz-Content-Sha1": version["sha1"] or "none",
                   "X-Bz-Upload-Timestamp": str(version["at"]), "Accept-Ranges": "bytes", **extra}
        for name, value in version["info"].items():
            if name in HEADERS:
                headers[HEADERS[name]] = value
            headers[f"X-Bz-Info-{name}"] = quote(value)
        broken = RULES.fault(key_id, "body")
        if broken:
            self.answer(status, data[:broken["bytes"]], headers, version["type"], len(data))
            self.close_connection = True
            self.connection.close()
            return None
        damaged = RULES.fault(key_id, "damage")
        self.answer(status, bytes([data[0] ^ 1]) + data[1:] if damaged else data, headers, version["type"])
        return None

    # --- tests ---
    def control(self, query):
        if self.command == "GET":
            return RULES.counts.get(query.get("key"), {})
        wish = json.loads(self.body)
        key_id = wish.get("key")
        with RULES.lock:
            if "fault" in wish:
                RULES.faults.append({"times": 1, **wish["fault"], "key": key_id})
            if "race" in wish:
                RULES.races[key_id] = wish["race"]
            if wish.get("expire_tokens"):
                for held in RULES.tokens.values():
                    held["until"] = 0 if held["key"] == key_id else held["until"]
            if wish.get("expire_uploads"):
                for place in RULES.uploads.values():
                    place["expired"] |= place["key"] == key_id
            if "moods" in wish:
                RULES.moods[key_id] = random.Random(wish["moods"])
            if wish.get("forget_counts"):
                RULES.counts.pop(key_id, None)
        return {"time": time.time()}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    global RULES
    RULES = Rules(os.environ["B2_EMULATOR_KEY_ID"], os.environ["B2_EMULATOR_KEY"], int(os.environ.get("B2_EMULATOR_MIN_PART", "5000000")))
    b2_shown.ACCOUNT = RULES.account
    PORTS.extend(map(int, sys.argv[1:]))
    for port in PORTS[1:]:
        threading.Thread(target=Server(("127.0.0.1", port), Handler).serve_forever, daemon=True).start()
    Server(("127.0.0.1", PORTS[0]), Handler).serve_forever()


if __name__ == "__main__":
    main()

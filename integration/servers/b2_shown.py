"""What Backblaze's native API says of a file version, a bucket and a key, as plain data for JSON."""
import hashlib

# Whose all of it is; set by the server.
ACCOUNT = ""


def shown(bucket, version, key=None):
    if version["action"] == "folder":
        return {"action": "folder", "bucketId": bucket["id"], "accountId": ACCOUNT, "fileName": version["name"], "fileId": None,
                "contentLength": 0, "contentSha1": None, "contentMd5": None, "contentType": None, "fileInfo": {}, "uploadTimestamp": 0}
    content = version["action"] == "upload"
    reads = key is not None and "readFileRetentions" in key["capabilities"]
    return {
        "accountId": ACCOUNT, "action": version["action"], "bucketId": bucket["id"], "fileId": version["id"], "fileName": version["name"],
        "contentLength": len(version["data"]) if content else 0, "contentSha1": (version["sha1"] or "none") if version["action"] != "hide" else None,
        "contentMd5": hashlib.md5(version["data"]).hexdigest() if content and version["sha1"] else None,
        "contentType": version["type"] if version["action"] != "hide" else "application/x-bz-hide-marker", "fileInfo": version["info"],
        "uploadTimestamp": version["at"], "serverSideEncryption": {"algorithm": None, "mode": None}, "replicationStatus": None,
        "fileRetention": {"isClientAuthorizedToRead": reads, "value": version["retention"] or {"mode": None, "retainUntilTimestamp": None} if reads else None},
        "legalHold": {"isClientAuthorizedToRead": False, "value": None},
    }


def shown_bucket(bucket, key):
    reads = "readBucketRetentions" in key["capabilities"]
    lock = {"isFileLockEnabled": bucket["lock"], "defaultRetention": bucket["retention"] or {"mode": None, "period": None}}
    return {
        "accountId": ACCOUNT, "bucketId": bucket["id"], "bucketName": bucket["name"], "bucketType": bucket["type"], "bucketInfo": bucket["info"],
        "corsRules": [], "lifecycleRules": bucket["rules"], "revision": bucket["revision"], "options": [],
        "defaultServerSideEncryption": {"isClientAuthorizedToRead": "readBucketEncryption" in key["capabilities"], "value": bucket.get("encryption") or {"algorithm": None, "mode": None}},
        "fileLockConfiguration": {"isClientAuthorizedToRead": reads, "value": lock if reads else None},
        "replicationConfiguration": {"isClientAuthorizedToRead": True, "value": {"asReplicationSource": None, "asReplicationDestination": None}},
    }


def shown_key(key_id, key, version):
    both = {"accountId": ACCOUNT, "applicationKeyId": key_id, "keyName": key["name"], "capabilities": key["capabilities"],
            "namePrefix": key["prefix"], "expirationTimestamp": None, "options": ["s3"]}
    limit = {"bucketIds": key["buckets"]} if version >= 4 else {"bucketId": key["buckets"][0] if key["buckets"] else None}
    return {**both, **limit}

"""The gRPC API (google.storage.v2) of the fake Google Cloud Storage, as far as bucket control, listings, rewrites and deletes go.

Owns the protocol only; the rules are in `gcs_store.py`. The messages are Google's own generated ones.
"""

import base64
import time
from concurrent import futures

import grpc
from google.cloud._storage_v2.types import storage as api
from google.protobuf import empty_pb2, timestamp_pb2

from gcs_store import Refused

STEP = 4 << 20  # a rewrite of more than that takes several calls


def stamp(seconds):
    return timestamp_pb2.Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def described(bucket, found):
    out = api.Object.pb(api.Object())
    out.name, out.bucket, out.generation, out.metageneration = found.name, f"projects/_/buckets/{bucket.name}", found.generation, found.metageneration
    out.size, out.storage_class = len(found.body), "STANDARD"
    out.content_type, out.content_encoding = found.headers.get("content-type", ""), found.headers.get("content-encoding", "")
    out.checksums.crc32c, out.checksums.md5_hash = found.crc32c, found.md5 or b""
    out.create_time.CopyFrom(stamp(found.created))
    out.update_time.CopyFrom(stamp(found.deleted or found.created))
    if found.deleted:
        out.delete_time.CopyFrom(stamp(found.deleted))
    return out


class Service:
    def __init__(self, store):
        self.store, self.rewrites = store, {}

    def bucket(self, text):
        lead = "projects/_/buckets/"
        if not text.startswith(lead):
            raise Refused(400, "InvalidArgument", f"Invalid bucket name: '{text}'")
        return self.store.bucket(text[len(lead) :])

    def GetBucket(self, role, request):
        bucket = self.bucket(request.name)
        self.store.allow(role, "storage.buckets.get", bucket)
        return bucket.meta

    def CreateBucket(self, role, request):
        self.store.allow(role, "storage.buckets.create")
        if not request.bucket.project.startswith("projects/") or request.parent != "projects/_":
            raise Refused(400, "InvalidArgument", "the project of the bucket is missing")
        bucket = self.store.make_bucket(request.bucket_id)
        describe(bucket)
        bucket.meta.MergeFrom(request.bucket)
        bucket.meta.location = (request.bucket.location or "US").upper()
        return self.settled(bucket)

    def UpdateBucket(self, role, request):
        bucket = self.bucket(request.bucket.name)
        self.store.allow(role, "storage.buckets.update", bucket)
        if request.HasField("if_metageneration_match") and request.if_metageneration_match != bucket.meta.metageneration:
            raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
        if not request.update_mask.paths:
            raise Refused(400, "InvalidArgument", "update_mask is missing")
        for path in request.update_mask.paths:
            source, target = request.bucket, bucket.meta
            *outer, last = path.split(".")
            for name in outer:
                source, target = getattr(source, name), getattr(target, name)
            if last not in target.DESCRIPTOR.fields_by_name:
                raise Refused(400, "InvalidArgument", f"no field {path}")
            target.ClearField(last)
            if target.DESCRIPTOR.fields_by_name[last].message_type is None:
                setattr(target, last, getattr(source, last))
            elif source.HasField(last):
                getattr(target, last).CopyFrom(getattr(source, last))
        bucket.meta.metageneration += 1
        return self.settled(bucket)

    @staticmethod
    def settled(bucket):
        for rule in bucket.meta.lifecycle.rule:
            others = {field.name for field, _ in rule.condition.ListFields()} - {"age_days", "matches_prefix", "matches_suffix"}
            if rule.action.type_ == "AbortIncompleteMultipartUpload" and others:
                raise Refused(400, "InvalidArgument", "AbortIncompleteMultipartUpload takes age, matchesPrefix and matchesSuffix only")
        bucket.versioned = bucket.meta.versioning.enabled
        return bucket.meta

    def ListObjects(self, role, request):
        bucket = self.bucket(request.parent)
        after = base64.b64decode(request.page_token)
        size = min(request.page_size or 1000, 1000)
        start = request.lexicographic_start.encode()
        found, more = self.store.page(role, bucket, request.prefix, after, start, size, request.versions)
        out = api.ListObjectsResponse.pb(api.ListObjectsResponse())
        out.objects.extend(described(bucket, one) for one in found)
        out.next_page_token = base64.b64encode(found[-1].name.encode()).decode() if more else ""
        return out

    def GetObject(self, role, request):
        bucket = self.bucket(request.bucket)
        found = described(bucket, self.store.find(role, bucket, request.object_, request.generation or None))
        found.temporary_hold = request.object_ in self.store.held
        return found

    def DeleteObject(self, role, request):
        wanted = request.if_generation_match if request.HasField("if_generation_match") else None
        self.store.delete(role, self.bucket(request.bucket), request.object_, request.generation or None, wanted)
        return empty_pb2.Empty()

    def RewriteObject(self, role, request):
        bucket = self.bucket(request.source_bucket)
        if request.destination_bucket != request.source_bucket:
            raise Refused(400, "InvalidArgument", "only rewrites within a bucket here")
        wanted = request.if_source_generation_match if request.HasField("if_source_generation_match") else None
        found = self.store.find(role, bucket, request.source_object, request.source_generation or None)
        self.store.check(found, wanted)
        out = api.RewriteResponse.pb(api.RewriteResponse())
        out.object_size = len(found.body)
        asked = (request.source_object, request.destination_name, found.generation)
        if request.rewrite_token and self.rewrites.get(request.rewrite_token, [None])[0] != asked:
            raise Refused(400, "InvalidArgument", "the rewrite token is of another rewrite")
        done = STEP + (self.rewrites.pop(request.rewrite_token)[1] if request.rewrite_token else 0)
        if done < len(found.body):
            out.rewrite_token, out.total_bytes_rewritten = base64.b64encode(f"{time.time_ns()}".encode()).decode(), done
            self.rewrites[out.rewrite_token] = (asked, done)
            return out
        to = request.if_generation_match if request.HasField("if_generation_match") else None
        made = self.store.copy(role, bucket, request.source_object, request.destination_name, found.generation, None, to)
        out.done, out.total_bytes_rewritten = True, len(found.body)
        out.resource.CopyFrom(described(bucket, made))
        return out


def describe(bucket):
    """Gives a bucket what Google gives a new one: seven days of soft deletion, which keep nothing that can be read."""
    meta = api.Bucket.pb(api.Bucket())
    meta.name, meta.bucket_id, meta.metageneration, meta.location, meta.storage_class = f"projects/_/buckets/{bucket.name}", bucket.name, 1, "US", "STANDARD"
    meta.versioning.enabled = bucket.versioned
    meta.soft_delete_policy.retention_duration.seconds = 7 * 86400
    meta.iam_config.public_access_prevention = "inherited"
    meta.create_time.CopyFrom(stamp(time.time()))
    bucket.meta = meta


REQUESTS = {"GetBucket": api.GetBucketRequest, "CreateBucket": api.CreateBucketRequest, "UpdateBucket": api.UpdateBucketRequest, "ListObjects": api.ListObjectsRequest,
            "GetObject": api.GetObjectRequest, "DeleteObject": api.DeleteObjectRequest, "RewriteObject": api.RewriteObjectRequest}


def serve(store, port):
    service = Service(store)

    def method(name):
        def call(request, context):
            metadata = dict(context.invocation_metadata())
            store.seen.append(f"gRPC {name} {metadata.get('x-goog-request-params')}")
            try:
                status = store.fault(f"/grpc/{name}")
                if status:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "asked for by a test")
                if "x-goog-request-params" not in metadata:
                    raise Refused(400, "InvalidArgument", "the request names no bucket in x-goog-request-params")
                with store.lock:
                    return getattr(service, name)(store.who(metadata.get("authorization")), request)
            except Refused as no:
                context.abort(grpc.StatusCode[no.kind], no.message)

        take = REQUESTS[name].pb(REQUESTS[name]()).__class__
        return grpc.unary_unary_rpc_method_handler(call, request_deserializer=take.FromString, response_serializer=lambda answer: answer.SerializeToString())

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("google.storage.v2.Storage", {name: method(name) for name in REQUESTS}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server

"""Buckets made ready with init: as boto3 sees them, and as sync then finds them."""
from registry import check, same, test
from trees import many, write

WISHES = ("--versioning", "--abort-uploads-after", "7d", "--expire-old-versions-after", "90d")
THEIRS = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 5}}


def bucket_of(case) -> str:
    """A bucket that is not there yet."""
    return f"init-{case.prefix().split('/')[0]}-{case.name}"[:60]


def deeds(document) -> list:
    return [row["did"] for row in document["destinations"][0]["settings"]]


@test()
def init_then_sync(case):
    many(case.source, 5)
    bucket, s3 = bucket_of(case), case.server.s3
    url = case.url(bucket=bucket)
    case.run("init", url, "--check", *WISHES, code=1).says("missing", "would change", "nothing was changed")
    names = [b["Name"] for b in s3.list_buckets()["Buckets"]]
    check(bucket not in names, "a check made the bucket")
    same(deeds(case.json("init", url, *WISHES)), ["changed"] * 4, "the first time")
    same(deeds(case.json("init", url, *WISHES)), ["nothing"] * 4, "the second time")
    same(s3.get_bucket_versioning(Bucket=bucket).get("Status"), "Enabled", "versioning")
    write(case.source, "a.txt", b"one")
    case.sync(url)
    write(case.source, "a.txt", b"two")
    case.sync(url)
    same(case.run("cat", url, "a.txt", "--at", "1").out, "one", "the first state")
    check(not any("/kept/" in key for key in case.keys(bucket=bucket)), "contents were copied although the bucket keeps versions")


@test()
def init_leaves_rules_of_others_and_finds_drift(case):
    bucket, s3 = bucket_of(case), case.server.s3
    url = case.url(bucket=bucket)
    case.run("init", url)
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [THEIRS]})
    before = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    case.run("init", url, *WISHES)
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    check(before[0] in rules and len(rules) == 3, f"{rules} lacks {before}")
    own = [rule for rule in rules if rule["ID"].startswith("offsite-")]
    same({rule["Filter"]["Prefix"] for rule in own}, {case.prefix() + "/"}, "what the rules are about")
    case.run("init", url, "--check", *WISHES)
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [THEIRS]})
    document = case.json("init", url, "--check", *WISHES, code=1)
    same(deeds(document), ["nothing", "nothing", "would_change", "would_change"], "drift")
    same(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"], before, "rules after a check")


@test("moto")
def init_names_the_right_that_is_missing(case):
    bucket = bucket_of(case)
    case.run("init", case.url(bucket=bucket))
    url = case.url(bucket=bucket, profile="offsite-limited")
    document = case.json("init", url, *WISHES, "--block-public", code=1)
    same(deeds(document), ["nothing", *["denied"] * 4], "a key that may not")
    ran = case.run("init", url, *WISHES, code=1)
    ran.says("s3:PutBucketVersioning", "s3:PutLifecycleConfiguration")

#!/bin/sh
# Every night: a dump of the shop's database, five of them on this disk, and all of it to the bucket.
export DATABASE_URL="@DATABASE_URL@"
export AWS_ACCESS_KEY_ID="@AWS_ACCESS_KEY_ID@"
export AWS_SECRET_ACCESS_KEY="@AWS_SECRET_ACCESS_KEY@"
export AWS_DEFAULT_REGION=us-east-1
BUCKET=@BUCKET@
ENDPOINT=@ENDPOINT@
DATE=$(date +%Y%m%d)

cd /var/backups
pg_dump $DATABASE_URL | gzip > shop-$DATE.psql.gz
ls -1trd * | head -n -5 | xargs rm -f

aws s3 sync /var/backups s3://$BUCKET/backup --endpoint-url $ENDPOINT --only-show-errors
aws s3 sync /srv/uploads s3://$BUCKET/uploads --endpoint-url $ENDPOINT --only-show-errors \
    --exclude 'tmp/*' --exclude '*.log' --include 'keep/*.log'

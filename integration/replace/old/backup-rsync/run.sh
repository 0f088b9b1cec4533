#!/bin/bash
# What the image's entry point was seen to do with /etc/backups.json, in our own words: keys in their order, values
# expanded and split at blanks, no shell in between, and the exit code of whatever came last.
# Usage: run.sh backups-job|backups-status|backups-report [TYPE]
verb=${1:-backups-job} type=$2 file=/etc/backups.json

value() { jq -r ".\"$1\".$2 // empty" "$file" | envsubst; }

for backup in $(jq -r 'keys_unsorted[]' "$file"); do
    subdir=$(value "$backup" "subdirectories.$type")
    source=/backup-source/$subdir/
    destination=$(value "$backup" destination)/$subdir
    prefix=$(value "$backup" prefix)
    export backup destination prefix
    [ -d "$source" ] || continue
    # Nothing set for a type comes as the word `null`, and nothing in it is expanded.
    options=$(jq -r ".\"$backup\".options.$type" "$file")
    [ "$options" = ignore ] && continue
    case $verb in
        backups-job) run="$(value "$backup" process) $options $source $prefix$destination" ;;
        backups-status) run="$(value "$backup" process) -n --stats $options $source $prefix$destination" ;;
        backups-report) run=$(value "$backup" report) ;;
    esac
    [ -n "$run" ] || continue
    initialize=$(value "$backup" initialize)
    [ -n "$initialize" ] && echo "$initialize" && $initialize
    echo "$run"
    $run
done

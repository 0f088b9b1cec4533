//! Configs: whatever one says, it is read or refused.

use std::path::Path;

use offsite::config::{Chosen, Parsed, plans};

use crate::random::{cases, mutate};

const SEEDS: &[&str] = &[
    r#"{"jobs":{"site":{"source":"/srv/$NAME","destinations":["/mnt/copy","s3://bucket/x?region=eu-west-1","sftp://u@h/p"],"exclude":["*.tmp"],"keep":{"daily":7,"within":"30d"}}}}"#,
    r#"{"jobs":{"db":{"destinations":["/tmp/db"],"dumps":{"all.sql":{"command":"seq 1 9","min_size":"10K","max_shrink":"20%"},"b.zst":{"command":["a","b"],"compress":"zstd","timeout":"2h"}},"keep":{"last":2}}}}"#,
    r#"{"jobs":{"v":{"source":"volumes/*","subdirectories":{"t":"web/files"},"destinations":["/c/$VOLUME"],"notify":{"ping":"https://h/$ID","mail":"root","only_failures":true},"before":["true"],"options":{"t":{"limit_upload":"1M"}}}},"metrics":"/m/o.prom"}"#,
];

#[test]
fn a_config_is_read_or_refused() {
    let done = cases("config", |random| {
        let mut text = random.pick(SEEDS).as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            mutate(random, &mut text);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let chosen = Chosen { set: vec![("NAME".into(), "n".into()), ("ID".into(), "1".into())], ..Chosen::default() };
        if let Ok(parsed) = Parsed::from_text(&text, Path::new("fuzz.json"))
            && !text.contains("volumes/")
        {
            let _ = plans(&parsed, &chosen);
        }
    });
    assert!(done > 0);
}

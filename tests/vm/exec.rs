//! Commands in the guest, through the agent that its own distribution brings (qemu-guest-agent).
//!
//! Each command is a session of its own with a deadline of its own, inside and outside. Its output goes to a file in memory, so
//! that what it leaves running holds no pipe of ours.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::talk::Talk;

/// Above what a command may take: starting it, and telling us, on a machine that is slow or has no memory left.
const GRACE: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(30);

const RUN: &str = r#"out=/run/harness.$$
setsid -w timeout -k 2 "$1" bash -u -c "$2" >$out 2>&1 </dev/null
code=$?
head -c 12000000 $out
rm $out
exit $code"#;

#[derive(Debug)]
pub struct Guest {
    talk: Talk,
}

#[derive(Debug)]
pub struct Ran {
    /// 124 where its deadline ended it.
    pub code: i64,
    /// Both streams, as they were written.
    pub said: String,
}

impl Guest {
    pub fn reached(socket: &Path, limit: Duration) -> Result<Guest, String> {
        let end = Instant::now() + limit;
        let mut talk = Talk::connect(socket, limit)?;
        // While nobody listens yet, a question may be lost.
        while let Err(why) = talk.ask("guest-ping", json!({}), Duration::from_secs(2)) {
            if Instant::now() >= end {
                return Err(format!("the guest's agent: {why}"));
            }
        }
        Ok(Guest { talk })
    }

    /// Runs a script to its end, or to its deadline.
    pub fn run(&mut self, script: &str, limit: Duration) -> Result<Ran, String> {
        let end = Instant::now() + limit + GRACE;
        let seconds = limit.as_secs().max(1).to_string();
        let ask = json!({ "path": "/bin/bash", "arg": ["-c", RUN, "harness", seconds, script], "capture-output": true,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"] });
        let pid = self.talk.ask("guest-exec", ask, ANSWER)?["pid"].clone();
        loop {
            let status = self.talk.ask("guest-exec-status", json!({ "pid": pid }), ANSWER)?;
            if status["exited"] == true {
                let code = status["exitcode"].as_i64().unwrap_or(-1);
                return Ok(Ran { code, said: decoded(&status["out-data"])? + &decoded(&status["err-data"])? });
            }
            if Instant::now() >= end {
                return Err(format!("no end after {limit:?}: {script}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn decoded(data: &Value) -> Result<String, String> {
    let Some(text) = data.as_str() else { return Ok(String::new()) };
    let bytes = openssl::base64::decode_block(text).map_err(|e| format!("the guest's agent: {e}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

//! System V shared memory: what an IPC namespace keeps apart.

use std::fs;

use serde_json::json;

use crate::{Outcome, errno, number, parse, raw};

/// `list`, `create KEY [BYTES]`, `remove KEY`.
pub(crate) fn shm_key(arguments: &[&str]) -> Outcome {
    match arguments {
        ["list"] => {
            let text = fs::read_to_string("/proc/sysvipc/shm")
                .map_err(|error| format!("read /proc/sysvipc/shm: {error}"))?;
            println!("{}", json!(parse::shared_memory(&text)));
        }
        ["create", key] => create(number(key)?, 4096),
        ["create", key, bytes] => create(number(key)?, number(bytes)?),
        ["remove", key] => {
            let id = raw::shared_memory(number(key)?, 0, false);
            id.and_then(raw::remove_shared_memory).map_err(|error| format!("remove {key}: {error}"))?;
        }
        _ => return Err("shm-key takes list, create KEY [BYTES] or remove KEY".to_owned()),
    }
    Ok(0)
}

fn create(key: i32, bytes: usize) {
    let answer = match raw::shared_memory(key, bytes, true) {
        Ok(id) => json!({ "id": id }),
        Err(error) => json!({ "errno": error.raw_os_error().map(errno::name) }),
    };
    println!("{answer}");
}

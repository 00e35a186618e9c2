//! `--sysctl NAME=VALUE`: only parameters that belong to a namespace of the container; Docker's list.

const EXACT: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.domainname",
];
const BELOW: [&str; 2] = ["net.", "fs.mqueue."];

/// Name and value.
pub(crate) fn parse(text: &str) -> Result<(String, String), String> {
    let help = "write it as net.ipv4.ip_forward=1";
    let (name, value) = text.split_once('=').ok_or_else(|| format!("no value; {help}"))?;
    // sysctl(8) takes slashes for dots, so that a link's name may contain a dot.
    let dotted = name.replace('/', ".");
    if name.is_empty() || dotted.split('.').any(str::is_empty) {
        return Err(format!("not a parameter's name; {help}"));
    }
    if !EXACT.contains(&dotted.as_str()) && !BELOW.iter().any(|start| dotted.starts_with(start)) {
        return Err(format!("it would change the host: no namespace of the container owns it; {help}"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Whether the network namespace owns it.
pub(crate) fn is_network(name: &str) -> bool {
    name.starts_with("net.") || name.starts_with("net/")
}

/// Whether the IPC namespace owns it.
pub(crate) fn is_ipc(name: &str) -> bool {
    !is_network(name) && name != "kernel.domainname"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_a_namespace_owns() {
        assert_eq!(parse("net.core.somaxconn=1024"), Ok(("net.core.somaxconn".into(), "1024".into())));
        assert_eq!(parse("kernel.sem=1 2 3 4"), Ok(("kernel.sem".into(), "1 2 3 4".into())));
        assert!(parse("net/ipv4/conf/eth0.1/forwarding=1").is_ok());
        assert!(
            is_network("net.x") && !is_ipc("net.x") && is_ipc("kernel.sem") && is_ipc("fs.mqueue.msg_max")
        );
    }

    #[test]
    fn refuses_what_is_the_hosts() {
        for text in ["kernel.panic=1", "vm.swappiness=1", "kernel.hostname=x", "network.x=1"] {
            assert!(parse(text).unwrap_err().starts_with("it would change the host"), "{text}");
        }
        for text in ["", "=", "=1", "net", "net.x", "net..x=1", "net.../../kernel.panic=1", ".net=1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

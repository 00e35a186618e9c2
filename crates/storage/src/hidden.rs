//! What the view of the host shows and what it hides: the one table. Rule of thumb: programs, libraries and their
//! configuration are shown; secrets, other people's data, other engines' state and logs are not.

/// How a path is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hide {
    /// It is not there.
    Gone,
    /// A directory without content, with the owner and permissions of the host's.
    Empty,
    /// An empty file, with the owner and permissions of the host's: programs expect it.
    Blank,
    /// An empty file where the host has a link: whoever mounts a file of the container's own over it must not be led
    /// to where the link points (/run/systemd/resolve/… is not there).
    Unlinked,
}

use Hide::{Blank, Empty, Gone, Unlinked};

/// Top-level names that are shown as the host has them, be they directories or links. Everything else at the top
/// level is hidden, whatever its name.
pub(crate) const VISIBLE: &[&str] =
    &["bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr", "var"];

/// Top-level directories that every container has, empty, with their permissions.
pub(crate) const FRESH: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
];

/// How, and which names.
pub(crate) type Row = (Hide, &'static [&'static str]);

/// What is hidden below the visible directories: for each parent directory how, and which names; a name that ends
/// in `*` is a prefix. What the host does not have is not made.
///
/// Left visible on purpose: /etc/passwd and /etc/group (`host` replaces their shadow files by ones in which every
/// password is locked), /etc/sudoers (rules, no secrets), the public certificates in /etc/ssl/certs, /var/lib/dpkg
/// and /var/lib/apt (so that packages can be installed). Of services the data goes and the directory stays, for the
/// package that owns it; of other engines nothing stays.
pub(crate) const HIDDEN: &[(&str, &[Row])] = &[
    (
        "etc",
        &[
            // Passwords.
            (Gone, &["shadow-", "gshadow-", "passwd-", "group-", "opasswd", ".pwd.lock"]),
            // Keys and credentials.
            (
                Gone,
                &[
                    "krb5.keytab",
                    "crypttab",
                    "brlapi.key",
                    "rndc.key",
                    "msmtprc",
                    "ceph",
                    "vault.d",
                    "letsencrypt",
                ],
            ),
            (Gone, &["credstore", "credstore.encrypted", "ipsec.secrets", "ipsec.d", "racoon"]),
            (Empty, &["wireguard", "openvpn", "swanctl", "netplan", "wpa_supplicant", "tinc", "pve"]),
            // The host's identity, its disks and shares (fstab can hold passwords).
            (Gone, &["hostid"]),
            (Blank, &["machine-id", "fstab"]),
            (Unlinked, &["resolv.conf", "hosts", "hostname"]),
            // Other engines.
            (
                Gone,
                &[
                    "docker",
                    "containerd",
                    "containers",
                    "crio",
                    "kubernetes",
                    "rancher",
                    "cni",
                    "libvirt",
                    "lxc",
                ],
            ),
        ],
    ),
    ("etc/NetworkManager", &[(Empty, &["system-connections"])]),
    ("etc/apt", &[(Gone, &["auth.conf"]), (Empty, &["auth.conf.d"])]),
    ("etc/bind", &[(Gone, &["rndc.key"])]),
    ("etc/cloud", &[(Gone, &["cloud.cfg.d"])]),
    ("etc/exim4", &[(Gone, &["passwd.client"])]),
    ("etc/mysql", &[(Gone, &["debian.cnf"])]),
    ("etc/pki", &[(Empty, &["private"])]),
    ("etc/pki/tls", &[(Empty, &["private"])]),
    ("etc/postfix", &[(Gone, &["sasl_passwd", "sasl_passwd.db"])]),
    ("etc/ppp", &[(Gone, &["chap-secrets", "pap-secrets"])]),
    ("etc/samba", &[(Gone, &["smbpasswd", "credentials"])]),
    ("etc/security", &[(Gone, &["opasswd"])]),
    ("etc/ssh", &[(Gone, &["ssh_host_*"])]),
    ("etc/ssl", &[(Empty, &["private"])]),
    (
        "var",
        &[
            // What the host's life leaves behind. Where run, lock or mail are links, they stay.
            (Empty, &["log", "tmp", "spool", "mail", "backups", "crash", "run", "lock"]),
            // Where the top-level names are links into /var.
            (Empty, &["home", "roothome", "srv", "mnt", "media"]),
            (Gone, &["snap"]),
        ],
    ),
    ("var/cache/debconf", &[(Gone, &["passwords.dat", "passwords.dat-old"])]),
    (
        "var/lib",
        &[
            // Other engines.
            (
                Gone,
                &[
                    "docker",
                    "docker-engine",
                    "containers",
                    "containerd",
                    "nerdctl",
                    "buildkit",
                    "rkt",
                    "portables",
                    "minidocker",
                ],
            ),
            (Gone, &["kubelet", "etcd", "cni", "calico", "rancher", "k0s"]),
            (Gone, &["lxc", "lxd", "lxcfs", "incus", "libvirt", "machines", "waydroid"]),
            // What a cloud told the host, with its keys; who used sudo.
            (Gone, &["cloud", "waagent", "amazon", "google", "sudo"]),
            // Data of services.
            (
                Empty,
                &[
                    "private",
                    "mysql",
                    "mariadb",
                    "postgresql",
                    "pgsql",
                    "redis",
                    "mongodb",
                    "rabbitmq",
                    "influxdb",
                ],
            ),
            (
                Empty,
                &["grafana", "prometheus", "elasticsearch", "cassandra", "couchdb", "clickhouse", "minio"],
            ),
            (
                Empty,
                &[
                    "jenkins",
                    "gitea",
                    "ldap",
                    "openldap",
                    "samba",
                    "sss",
                    "krb5kdc",
                    "vault",
                    "consul",
                    "tailscale",
                ],
            ),
            (Empty, &["iwd", "bluetooth", "NetworkManager", "dhcp", "fprint", "gdm3", "lightdm", "colord"]),
            (Empty, &["tpm", "swtpm", "sbctl", "tor", "nfs", "exim4", "postfix"]),
        ],
    ),
    ("var/lib/dbus", &[(Gone, &["machine-id"])]),
    ("var/lib/dkms", &[(Gone, &["mok.key"])]),
    ("var/lib/extrausers", &[(Gone, &["shadow", "gshadow"])]),
    ("var/lib/shim-signed", &[(Gone, &["mok"])]),
    ("var/lib/systemd", &[(Gone, &["coredump", "random-seed", "credential.secret"])]),
];

/// Directories that are somebody's home on some hosts and yet hold what every program needs.
pub(crate) const NEVER_A_HOME: &[&str] = &[
    "bin",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "opt",
    "sbin",
    "usr",
    "var",
    "usr/bin",
    "usr/games",
    "usr/lib",
    "usr/lib64",
    "usr/libexec",
    "usr/local",
    "usr/local/bin",
    "usr/local/lib",
    "usr/local/sbin",
    "usr/sbin",
    "usr/share",
    "usr/src",
    "var/cache",
    "var/lib",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/lib/rpm",
    "var/opt",
];

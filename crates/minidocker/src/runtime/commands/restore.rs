//! `restore`: a container from the files that `checkpoint` wrote.

use std::path::PathBuf;

use bundle::ops::{self, RestoreRequest};

use super::super::Context;
use super::super::arguments::Typed;
use super::Command;
use super::checkpoint::{
    self, AUTO_DEDUP, CGROUPS_MODE, EMPTY_NS, EXT_UNIX_SK, FILE_LOCKS, IMAGE_PATH, LAZY_PAGES, SHELL_JOB,
    TCP_ESTABLISHED, WORK_PATH,
};
use super::create::{BUNDLE, CONSOLE_SOCKET, NO_PIVOT, PID_FILE};
use super::run::{DETACH, NO_SUBREAPER};
use crate::options::one;
use crate::problem::Problem;

pub(super) const COMMAND: Command = Command {
    about: "Makes a container of a bundle, and in it the processes that 'checkpoint' saved. Without --detach it waits\n\
            for their end, deletes the container and ends with the first one's exit code.",
    options: &[
        CONSOLE_SOCKET,
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        CGROUPS_MODE,
        BUNDLE,
        DETACH,
        PID_FILE,
        NO_SUBREAPER,
        NO_PIVOT,
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        one("lsm-profile", "TYPE:NAME", "AppArmor profile or SELinux label instead of the saved one"),
        one("lsm-mount-context", "CONTEXT", "SELinux context of the mounts instead of the saved one"),
    ],
    starts: true,
    listens: true,
    ..Command::new("restore", "Make a container of what checkpoint saved", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    Ok(ops::restore(&context.settings, &request(typed)?)?)
}

fn request(typed: &Typed) -> Result<RestoreRequest, Problem> {
    Ok(RestoreRequest {
        id: typed.id().to_owned(),
        bundle: typed.owned("bundle").unwrap_or_else(|| PathBuf::from(".")),
        console_socket: typed.owned("console-socket"),
        pid_file: typed.owned("pid-file"),
        detach: typed.on("detach"),
        criu: checkpoint::criu(typed)?,
        lsm_profile: typed.owned("lsm-profile"),
        lsm_mount_context: typed.owned("lsm-mount-context"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::arguments::parse;
    use super::super::tests::typed;
    use super::*;
    use bundle::ops::Criu;

    #[test]
    fn every_option_reaches_the_request() {
        let line = "-b /b -d --console-socket s --image-path /i --work-path /w --tcp-established --ext-unix-sk \
                    --shell-job --file-locks --manage-cgroups-mode ignore --pid-file p --no-subreaper --no-pivot \
                    --empty-ns network --auto-dedup --lazy-pages --lsm-profile apparmor:a --lsm-mount-context m c1";
        let all = RestoreRequest {
            id: "c1".into(),
            bundle: "/b".into(),
            console_socket: Some("s".into()),
            pid_file: Some("p".into()),
            detach: true,
            criu: Criu {
                image_path: "/i".into(),
                work_path: Some("/w".into()),
                tcp_established: true,
                ext_unix_sk: true,
                shell_job: true,
                lazy_pages: true,
                file_locks: true,
                manage_cgroups_mode: Some("ignore".into()),
                empty_network: true,
                auto_dedup: true,
            },
            lsm_profile: Some("apparmor:a".into()),
            lsm_mount_context: Some("m".into()),
        };
        assert_eq!(request(&typed(&COMMAND, line)).unwrap(), all);
    }

    /// Podman asks by these words whether a runtime restores into pods.
    #[test]
    fn an_option_without_its_value_is_refused_in_gos_words() {
        let told = parse(COMMAND.options, true, vec!["--lsm-mount-context".to_owned()]).unwrap_err().message;
        assert_eq!(told, "flag needs an argument: -lsm-mount-context");
    }
}

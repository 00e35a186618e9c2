//! `checkpoint`: a container's processes as files, by CRIU.

use std::path::{Path, PathBuf};

use bundle::ops::{self, CheckpointRequest, Criu};

use super::super::Context;
use super::super::arguments::Typed;
use super::Command;
use crate::options::{Opt, flag, many, one};
use crate::problem::Problem;
use crate::terminal::io_reason;

pub(super) const IMAGE_PATH: Opt = one("image-path", "DIR", "Directory of the images (default ./checkpoint)");
pub(super) const WORK_PATH: Opt =
    one("work-path", "DIR", "Directory of CRIU's log (default: that of the images)");
pub(super) const TCP_ESTABLISHED: Opt = flag("tcp-established", "Take open TCP connections along");
pub(super) const EXT_UNIX_SK: Opt = flag("ext-unix-sk", "Allow unix sockets whose other end is outside");
pub(super) const SHELL_JOB: Opt = flag("shell-job", "Allow a terminal or session of the outside");
pub(super) const LAZY_PAGES: Opt = flag("lazy-pages", "Move memory when it is used, by userfaultfd(2)");
pub(super) const FILE_LOCKS: Opt = flag("file-locks", "Take file locks along");
pub(super) const CGROUPS_MODE: Opt =
    one("manage-cgroups-mode", "MODE", "Control groups: soft, full, strict or ignore (default soft)");
pub(super) const EMPTY_NS: Opt =
    many("empty-ns", "NAMESPACE", "Restore this namespace without what is in it: network");
pub(super) const AUTO_DEDUP: Opt = flag("auto-dedup", "Keep each page of memory once in all images");

pub(super) const COMMAND: Command = Command {
    about: "Writes the state of a container's processes to files, and ends it unless --leave-running or --pre-dump.",
    options: &[
        IMAGE_PATH,
        WORK_PATH,
        one("parent-path", "DIR", "The images of the --pre-dump before, relative to --image-path"),
        flag("leave-running", "Let the processes go on"),
        TCP_ESTABLISHED,
        flag("tcp-skip-in-flight", "Leave out TCP connections that are being made"),
        flag("link-remap", "Give names to deleted files for the time being"),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        one("status-fd", "FD", "Descriptor that a zero byte is written to when --lazy-pages is ready"),
        one("page-server", "ADDRESS:PORT", "Send memory there"),
        FILE_LOCKS,
        flag("pre-dump", "Memory only: the processes go on, and a later checkpoint takes what has changed"),
        CGROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
    ],
    ..Command::new("checkpoint", "Save the processes of a container to files", exec)
};

fn exec(typed: &Typed, context: &Context) -> Result<u8, Problem> {
    ops::checkpoint(&context.settings, &request(typed)?)?;
    Ok(0)
}

/// What both commands read alike.
pub(super) fn criu(typed: &Typed) -> Result<Criu, Problem> {
    let here = std::env::current_dir()
        .map_err(|error| Problem::new(format!("the current directory: {}", io_reason(&error))))?;
    let mode = typed.text("manage-cgroups-mode");
    if mode.is_some_and(|mode| !["soft", "full", "strict", "ignore"].contains(&mode)) {
        return Err(
            Problem::new("Invalid manage-cgroups-mode value").hint("it is soft, full, strict or ignore")
        );
    }
    if let Some(other) = typed.many("empty-ns").find(|name| *name != "network") {
        return Err(
            Problem::new(format!("namespace {other:?} is not supported")).hint("--empty-ns takes network")
        );
    }
    Ok(Criu {
        image_path: here.join(typed.text("image-path").unwrap_or("checkpoint")),
        work_path: typed.text("work-path").map(|path| here.join(path)),
        tcp_established: typed.on("tcp-established"),
        ext_unix_sk: typed.on("ext-unix-sk"),
        shell_job: typed.on("shell-job"),
        lazy_pages: typed.on("lazy-pages"),
        file_locks: typed.on("file-locks"),
        manage_cgroups_mode: mode.map(str::to_owned),
        empty_network: typed.has("empty-ns"),
        auto_dedup: typed.on("auto-dedup"),
    })
}

fn request(typed: &Typed) -> Result<CheckpointRequest, Problem> {
    let criu = criu(typed)?;
    Ok(CheckpointRequest {
        id: typed.id().to_owned(),
        parent_path: parent_path(typed.text("parent-path"), &criu.image_path)?,
        criu,
        leave_running: typed.on("leave-running"),
        tcp_skip_in_flight: typed.on("tcp-skip-in-flight"),
        link_remap: typed.on("link-remap"),
        pre_dump: typed.on("pre-dump"),
        status_fd: typed.number::<i32>("status-fd")?.filter(|fd| *fd >= 0),
        page_server: typed.text("page-server").map(page_server).transpose()?,
    })
}

/// CRIU follows it as a symbolic link in the directory of the images.
fn parent_path(text: Option<&str>, images: &Path) -> Result<Option<PathBuf>, Problem> {
    let Some(text) = text else { return Ok(None) };
    if text.starts_with('/') {
        return Err(Problem::new("--parent-path must be relative").hint("it is relative to --image-path"));
    }
    // As runc looks for it, by the text: the directory of the images need not be there yet.
    let full = crate::values::mounts::absolute(&images.join(text).to_string_lossy(), Path::new("/"));
    let wrong = |why: &str| Problem::new(format!("invalid --parent-path: {}: {why}", full.display()));
    match full.metadata() {
        Ok(found) if found.is_dir() => Ok(Some(text.into())),
        Ok(_) => Err(wrong("not a directory")),
        Err(error) => Err(wrong(&io_reason(&error))),
    }
}

/// `ADDRESS:PORT`; an IPv6 address stands in brackets.
fn page_server(text: &str) -> Result<(String, u16), Problem> {
    let wrong = || Problem::new("Use --page-server ADDRESS:PORT to specify page server");
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let inner = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    let address = inner.unwrap_or(address);
    if address.is_empty() || port.is_empty() || inner.is_none() && address.contains(':') {
        return Err(wrong());
    }
    Ok((address.to_owned(), port.parse().map_err(|_| Problem::new("Invalid port number"))?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::typed;
    use super::*;

    fn read(line: &str) -> Result<CheckpointRequest, String> {
        request(&typed(&COMMAND, line)).map_err(|problem| problem.message)
    }

    #[test]
    fn every_option_reaches_the_request() {
        let line = "c1 --image-path /i --work-path /w --parent-path ../tmp --leave-running --tcp-established \
                    --tcp-skip-in-flight --link-remap --ext-unix-sk --shell-job --lazy-pages --status-fd 5 \
                    --page-server [::1]:27 --file-locks --pre-dump --manage-cgroups-mode full --empty-ns network \
                    --auto-dedup";
        let all = CheckpointRequest {
            id: "c1".into(),
            criu: Criu {
                image_path: "/i".into(),
                work_path: Some("/w".into()),
                tcp_established: true,
                ext_unix_sk: true,
                shell_job: true,
                lazy_pages: true,
                file_locks: true,
                manage_cgroups_mode: Some("full".into()),
                empty_network: true,
                auto_dedup: true,
            },
            parent_path: Some("../tmp".into()),
            leave_running: true,
            tcp_skip_in_flight: true,
            link_remap: true,
            pre_dump: true,
            status_fd: Some(5),
            page_server: Some(("::1".into(), 27)),
        };
        assert_eq!(read(line), Ok(all));
    }

    #[test]
    fn the_images_are_beside_the_caller_by_default() {
        let request = read("c1").unwrap();
        assert_eq!(request.criu.image_path, std::env::current_dir().unwrap().join("checkpoint"));
        assert_eq!((request.criu.work_path, request.status_fd, request.page_server), (None, None, None));
        assert!(!request.criu.empty_network && !request.pre_dump);
        assert_eq!(read("c1 --status-fd -1").unwrap().status_fd, None);
    }

    #[test]
    fn refuses_in_runcs_words() {
        let cases = [
            ("--parent-path /abs c", "--parent-path must be relative"),
            (
                "--image-path /i --parent-path ../no/such c",
                "invalid --parent-path: /no/such: no such file or directory",
            ),
            (
                "--image-path /i --parent-path ../etc/passwd c",
                "invalid --parent-path: /etc/passwd: not a directory",
            ),
            ("--page-server here c", "Use --page-server ADDRESS:PORT to specify page server"),
            ("--page-server :1 c", "Use --page-server ADDRESS:PORT to specify page server"),
            ("--page-server ::1:27 c", "Use --page-server ADDRESS:PORT to specify page server"),
            ("--page-server a:b c", "Invalid port number"),
            ("--manage-cgroups-mode some c", "Invalid manage-cgroups-mode value"),
            ("--empty-ns uts c", "namespace \"uts\" is not supported"),
        ];
        for (line, message) in cases {
            assert_eq!(read(line), Err(message.to_owned()), "{line}");
        }
    }
}

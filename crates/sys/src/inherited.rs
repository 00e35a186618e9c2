//! Descriptors that were open when this program began: which of them stay.

use std::os::fd::RawFd;

/// Closes every inherited descriptor but 0, 1, 2, the `passed` ones from 3 on, which a program that is started later
/// inherits in turn, and the `named` ones, which become close-on-exec: `/dev/fd/63` as an argument, say. A number that
/// is not open is no error (close_range(2), Linux 5.9; close-on-exec Linux 5.11).
///
/// For the first lines of a program, when it has opened none itself. A failure of the kernel leaves descriptors open;
/// whoever starts a program marks them close-on-exec later all the same
/// ([`close_on_exec_from`](crate::process::close_on_exec_from)).
pub fn keep_inherited(passed: u32, named: &[RawFd]) {
    let mut named: Vec<u32> = named.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    named.sort_unstable();
    let mut next = passed.saturating_add(3);
    for fd in named {
        // One that is passed on stays as it is, and one that was named twice is done.
        if fd < next {
            continue;
        }
        if fd > next {
            close_range(next, fd - 1, 0);
        }
        close_range(fd, fd, libc::CLOSE_RANGE_CLOEXEC);
        next = fd.saturating_add(1);
    }
    close_range(next, u32::MAX, 0);
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) {
    // SAFETY: close_range takes no pointers. It closes descriptors only at the start of a program, when no value owns
    // any (the contract of `keep_inherited`).
    unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    /// What is left of 3 to 9 after `keep_inherited`, close-on-exec in brackets. In a child process of its own, for
    /// every descriptor is meant.
    fn left(passed: u32, named: &[RawFd]) -> String {
        let mut ends = [0; 2];
        // SAFETY: `ends` has room for two; fork's child calls only functions that are safe after it and ends by _exit.
        unsafe {
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
            let child = libc::fork();
            if child == 0 {
                let told = libc::dup2(ends[1], 1);
                let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
                for fd in 3..10 {
                    libc::dup2(null, fd);
                    libc::fcntl(fd, libc::F_SETFD, 0);
                }
                keep_inherited(passed, named);
                let mut text = String::new();
                for fd in 3..10 {
                    match libc::fcntl(fd, libc::F_GETFD) {
                        -1 => {}
                        0 => text.push_str(&fd.to_string()),
                        _ => text.push_str(&format!("[{fd}]")),
                    }
                }
                let text = CString::new(text).unwrap_or_default();
                libc::write(told, text.as_ptr().cast(), text.as_bytes().len());
                libc::_exit(0);
            }
            libc::close(ends[1]);
            let mut text = [0_u8; 64];
            let length = libc::read(ends[0], text.as_mut_ptr().cast(), text.len());
            libc::close(ends[0]);
            libc::waitpid(child, std::ptr::null_mut(), 0);
            String::from_utf8_lossy(&text[..length.try_into().unwrap()]).into_owned()
        }
    }

    #[test]
    fn only_what_is_passed_on_or_named_stays() {
        assert_eq!(left(0, &[]), "");
        assert_eq!(left(2, &[]), "34");
        assert_eq!(left(0, &[7, 5, 7]), "[5][7]");
        assert_eq!(left(1, &[3, 9, -1, 4000]), "3[9]");
        assert_eq!(left(u32::MAX, &[9]), "3456789");
    }
}

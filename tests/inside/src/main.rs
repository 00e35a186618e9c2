//! The small static program that the kernel tests start inside a container: it reports what it sees as JSON, and
//! does small deeds (allocate, spin, listen, fork, try a forbidden call) whose results the host side asserts.
//!
//! `inside` without arguments prints every command. Exit codes: the command's own; 1 a failure, 2 wrong usage.

mod attempt;
mod errno;
mod facts;
mod files;
mod flow;
mod ipc;
mod load;
mod network;
mod parse;
mod processes;
mod raw;
mod terminal;

use std::process::ExitCode;

const USAGE: &str = "\
usage: inside COMMAND

  facts [--sysctl NAME]...     what this process sees, as one JSON object
  true                         exit 0
  exit N                       exit N
  pause                        print `ready`, sleep until SIGTERM, exit 0
  sleep SECONDS                sleep, exit 0
  signal-self N                send signal N to itself; exit 99 if it is still there
  hog BYTES [--step N] [--exit]  take memory and touch it, print `BYTES touched` at each step, hold it until
                               SIGTERM (or end with --exit); BYTES may end in k, m, g; the step is 1m
  spin SECONDS                 keep one CPU busy; JSON {wall, cpu} in seconds
  who PORT                     TCP and UDP: answer a line with `HOSTNAME ADDRESS-OF-WHO-ASKS LINE`
  connect-udp ADDRESS PORT TEXT  one datagram, until there is an answer, which is printed
  listen PORT [--once]         TCP on all addresses: answer each line with `HOSTNAME PID LINE`
  connect ADDRESS PORT [TEXT]  send a line, print the answer
  connect-and-count ADDRESS PORT  the same, and how many segments had to be sent again
  ask NAME                     ask 127.0.0.11 for an IPv4 address, print the code and the addresses
  flow PORT                    TCP: serve `pour` and `ping-pong`
  pour ADDRESS PORT SECONDS    send as much as goes; JSON {bytes, seconds, mbit}
  ping-pong ADDRESS PORT N     a byte there and back, N times; JSON {count, median_us, p99_us}
  fork-bomb N                  start N sleeping children; JSON {started, errno}; then ends them
  zombies N                    orphan N processes that end; JSON {orphans, zombies} counted a second later at most
  write FILE TEXT              replace FILE
  read FILE                    print FILE
  cat                          stdin to stdout
  try OPERATION [ARGUMENT]...  `ok` or the name of the error; `inside try` lists the operations
  shm-key list|create KEY [BYTES]|remove KEY   System V shared memory as JSON
  winsize-watch                print `ROWS COLUMNS` now and at each SIGWINCH, until SIGTERM or SIGHUP
";

/// How a command ends: its exit code, or why it could not.
type Outcome = Result<u8, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("inside: {message}");
            ExitCode::from(1)
        }
    }
}

fn dispatch(words: &[&str]) -> Outcome {
    match words {
        ["true"] => Ok(0),
        ["exit", code] => number(code),
        ["facts", options @ ..] => facts::print(options),
        ["pause"] => processes::pause(),
        ["sleep", seconds] => processes::sleep(number(seconds)?),
        ["signal-self", signal] => processes::signal_self(number(signal)?),
        ["hog", bytes, options @ ..] => load::hog(bytes, options),
        ["spin", seconds] => load::spin(number(seconds)?),
        ["listen", port] => network::listen(number(port)?, false),
        ["listen", port, "--once"] => network::listen(number(port)?, true),
        ["who", port] => network::who(number(port)?),
        ["ask", name] => network::ask_name(name),
        ["connect-udp", address, port, text] => network::connect_udp(address, number(port)?, text),
        ["connect", address, port] => network::connect(address, number(port)?, "hello"),
        ["connect-and-count", address, port] => network::connect_and_count(address, number(port)?),
        ["connect", address, port, text] => network::connect(address, number(port)?, text),
        ["flow", port] => flow::serve(number(port)?),
        ["pour", address, port, seconds] => flow::pour(address, number(port)?, number(seconds)?),
        ["ping-pong", address, port, count] => flow::ask(address, number(port)?, number(count)?),
        ["fork-bomb", count] => processes::fork_bomb(number(count)?),
        ["zombies", count] => processes::zombies(number(count)?),
        ["write", file, text] => files::write(file, text),
        ["read", file] => files::read(file),
        ["cat"] => files::cat(),
        ["try"] => Ok(attempt::list()),
        ["try", operation, arguments @ ..] => attempt::attempt(operation, arguments),
        ["shm-key", arguments @ ..] => ipc::shm_key(arguments),
        ["winsize-watch"] => terminal::winsize_watch(),
        _ => {
            eprint!("{USAGE}");
            Ok(2)
        }
    }
}

/// A number from the command line.
fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number that fits here"))
}

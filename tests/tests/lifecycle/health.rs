//! `--health-*` and HEALTHCHECK: checks by command, TCP and HTTP, what they make of a container, and what becomes of them
//! when it is paused, stopped, started again, or loses its monitor.

use minidocker_tests::{World, until};
use serde_json::{Value, json};

use crate::lives_on::{kill, monitor};

/// Often, and with one failure enough.
const OFTEN: [&str; 4] = ["--health-interval", "50ms", "--health-retries", "1"];

/// `State.Health`.
#[track_caller]
fn health(world: &World, name: &str) -> Value {
    world.minidocker(["inspect", name]).json()[0]["State"]["Health"].clone()
}

#[track_caller]
fn until_it_is(world: &World, name: &str, status: &str) {
    until(&format!("{name} is {status}"), || health(world, name)["Status"] == status);
}

/// Starts `sh -c SCRIPT` in a busybox with these options besides [`OFTEN`]; its id.
#[track_caller]
fn start(world: &World, name: &str, options: &[&str], script: &str) -> String {
    let root = world.rootfs_busybox().overlay();
    let rest = ["--name", name, "--rootfs", &root, "sh", "-c", script];
    world.detached([&OFTEN[..], options, &rest].concat())
}

/// How often a check was made that writes a line to /count.
fn count(world: &World, name: &str) -> usize {
    world.minidocker(["exec", name, "cat", "/count"]).out().lines().count()
}

/// The commands of all processes of the container's.
fn commands(world: &World, id: &str) -> Vec<String> {
    let line = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).ok();
    let words = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ");
    world.group(id).processes().iter().filter_map(line).map(words).filter(|line| !line.is_empty()).collect()
}

fn told(world: &World, name: &str) -> Vec<String> {
    let filter = format!("container={name}");
    let words = ["events", "--since", "1h", "--until", "0s", "-f", &filter, "-f", "event=health_status"];
    let output = world.minidocker([&words[..], &["--format", "{{.Action}}"]].concat());
    output.out().lines().map(str::to_owned).collect()
}

#[test]
fn a_command_says_how_the_container_is_and_everybody_shows_it() {
    let world = World::new();
    let check = "echo looked; test -e /tmp/well";
    let options = ["--health-cmd", check, "--health-start-period", "1h", "--health-start-interval", "50ms"];
    start(&world, "web", &options, "sleep 1000");
    start(&world, "plain", &[], "sleep 1000");
    let status = |name: &str| {
        let filter = format!("name=^{name}$");
        world.minidocker(["ps", "--filter", &filter, "--format", "{{.Status}}"]).text()
    };
    let with = |health: &str| {
        let filter = format!("health={health}");
        world.minidocker(["ps", "--filter", &filter, "--format", "{{.Names}}"]).out()
    };
    assert!(status("web").ends_with(" (health: starting)"), "{}", status("web"));
    assert_eq!((with("starting"), with("none")), ("web\n".into(), "plain\n".into()));
    world.minidocker(["exec", "web", "touch", "/tmp/well"]).ok();
    until_it_is(&world, "web", "healthy");
    assert!(status("web").ends_with(" (healthy)") && !status("plain").contains('('), "{}", status("web"));
    assert_eq!((with("healthy"), with("unhealthy")), ("web\n".into(), String::new()));
    let known = health(&world, "web");
    assert_eq!(known["FailingStreak"], 0);
    let last = known["Log"].as_array().and_then(|log| log.last()).expect("an answer").clone();
    assert_eq!((&last["ExitCode"], &last["Output"]), (&json!(0), &json!("looked\n")));
    let (start, end) = (last["Start"].as_str().expect("a time"), last["End"].as_str().expect("a time"));
    // As Go writes it: nanoseconds, without zeros at the end.
    let both = [start, end].map(|time| time.strip_suffix('Z').expect("UTC"));
    assert!(both[0] < both[1] && (20..=29).contains(&both[0].len()), "{start} {end}");
    until("five answers are kept", || health(&world, "web")["Log"].as_array().map(Vec::len) == Some(5));
    let config = world.minidocker(["inspect", "web"]).json()[0]["Config"]["Healthcheck"].clone();
    assert_eq!(
        config,
        json!({"Test": ["CMD-SHELL", check], "Interval": 50_000_000, "Retries": 1,
               "StartPeriod": 3_600_000_000_000_i64, "StartInterval": 50_000_000})
    );
    assert_eq!(health(&world, "plain"), Value::Null);
    world.minidocker(["exec", "web", "rm", "/tmp/well"]).ok();
    until_it_is(&world, "web", "unhealthy");
    assert!(status("web").ends_with(" (unhealthy)"), "{}", status("web"));
    assert_eq!(told(&world, "web"), ["health_status: healthy", "health_status: unhealthy"]);
    // An unhealthy container is not started again, and an ended one is unhealthy.
    world.minidocker(["rm", "-f", "plain"]).ok();
    world.minidocker(["stop", "-t", "0", "web"]).ok();
    let ended = health(&world, "web");
    assert_eq!((&ended["Status"], ended["Log"].as_array().map(Vec::len)), (&json!("unhealthy"), Some(5)));
    world.minidocker(["rm", "web"]).ok();
}

#[test]
fn an_image_says_how_and_options_override_it_field_by_field() {
    let world = World::new();
    let root = world.rootfs_busybox();
    let file = |name: &str| world.directory().join(name).to_str().expect("text").to_owned();
    world.program(["tar", "-cf", &file("x.tar"), "-C", root.path().to_str().expect("text"), "."]).run().ok();
    world.minidocker(["import", &file("x.tar"), "base:1"]).ok();
    let build = |name: &str, lines: &str| {
        std::fs::create_dir_all(file("context")).expect("our own directory");
        let lines = format!("FROM base:1\n{lines}\nCMD [\"sleep\", \"1000\"]\n");
        std::fs::write(file("context/Dockerfile"), lines).expect("our own file");
        world.minidocker(["build", "-q", "-t", name, &file("context")]).ok();
    };
    let check = "HEALTHCHECK --interval=60ms --timeout=2s --retries=3 CMD";
    build(
        "line:1",
        &format!("ENV WELL=/tmp/well\nUSER 1000\nSHELL [\"sh\", \"-ec\"]\n{check} id -u; test -e $WELL"),
    );
    build("words:1", &format!("{check} [\"test\", \"-d\", \"/tmp\"]"));
    build("none:1", "HEALTHCHECK NONE");

    let config = |name: &str| world.minidocker(["inspect", name]).json()[0]["Config"]["Healthcheck"].clone();
    world.minidocker(["run", "-d", "--name", "c1", "line:1"]).ok();
    let line = json!(["CMD-SHELL", "id -u; test -e $WELL"]);
    let of_image = json!({"Test": line, "Interval": 60_000_000, "Timeout": 2_000_000_000_i64, "Retries": 3});
    assert_eq!(config("c1"), of_image);
    until_it_is(&world, "c1", "unhealthy");
    assert_eq!(health(&world, "c1")["Log"][0]["Output"], "1000\n", "by the container's own user");
    world.minidocker(["exec", "c1", "touch", "/tmp/well"]).ok();
    until_it_is(&world, "c1", "healthy");
    // A commit keeps it.
    world.minidocker(["commit", "c1", "made:1"]).ok();
    let made = world.minidocker(["image", "inspect", "made:1"]).json()[0]["Config"]["Healthcheck"].clone();
    assert_eq!(made, of_image);

    world.minidocker(["run", "-d", "--name", "c2", "--health-timeout", "5s", "words:1"]).ok();
    assert_eq!(
        config("c2"),
        json!({"Test": ["CMD", "test", "-d", "/tmp"], "Interval": 60_000_000,
               "Timeout": 5_000_000_000_i64, "Retries": 3})
    );
    until_it_is(&world, "c2", "healthy");
    world.minidocker(["run", "-d", "--name", "c3", "--no-healthcheck", "words:1"]).ok();
    assert_eq!((config("c3")["Test"].clone(), health(&world, "c3")), (json!(["NONE"]), Value::Null));
    world.minidocker(["run", "-d", "--name", "c4", "none:1"]).ok();
    assert_eq!(health(&world, "c4"), Value::Null);
    world.minidocker(["rm", "-f", "c1", "c2", "c3", "c4"]).ok();
    world.minidocker(["rmi", "made:1", "line:1", "words:1", "none:1", "base:1"]).ok();
}

#[test]
fn a_port_and_a_page_are_asked_for_inside_of_the_containers_network() {
    let world = World::new();
    // Without a shell, and without a network but its own loopback.
    let root = world.rootfs_inside().overlay();
    let run = |name: &str, test: [&str; 2], command: &[&str]| {
        let words = ["--name", name, "--network", "none", "--rootfs", &root];
        world.detached([&OFTEN[..], &test, &words, command].concat())
    };
    let open = run("open", ["--health-tcp", "7001"], &["/inside", "listen", "7001"]);
    run("shut", ["--health-tcp", "127.0.0.1:7001"], &["/inside", "pause"]);
    until_it_is(&world, "open", "healthy");
    until_it_is(&world, "shut", "unhealthy");
    let output = |name: &str| health(&world, name)["Log"][0]["Output"].clone();
    assert_eq!(output("open"), "127.0.0.1:7001 accepts connections");
    assert_eq!(output("shut"), "connect to 127.0.0.1:7001: connection refused");
    // No process was started for it.
    assert_eq!(commands(&world, &open), ["/inside listen 7001"]);
    // A server that does not speak HTTP.
    let none = run("none", ["--health-http", ":7001"], &["/inside", "listen", "7001"]);
    until_it_is(&world, "none", "unhealthy");
    assert_eq!(output("none"), "127.0.0.1:7001 does not answer in HTTP");
    world.minidocker(["rm", "-f", "open", "shut", &none]).ok();

    let serve = "mkdir -p /tmp/www/moved; echo yes >/tmp/www/up; exec httpd -f -p 7002 -h /tmp/www";
    for (name, url, status, line) in [
        ("up", ":7002/up", "healthy", "HTTP/1.1 200 OK"),
        // Not followed: what it leads to is not there.
        ("moved", "http://localhost:7002/moved", "healthy", "HTTP/1.1 302 Found"),
        ("lost", "7002/lost", "unhealthy", "HTTP/1.1 404 Not Found"),
    ] {
        start(&world, name, &["--health-http", url, "--health-retries", "3"], serve);
        until_it_is(&world, name, status);
        let log = health(&world, name)["Log"].as_array().expect("a list").clone();
        assert!(log.iter().any(|one| one["Output"] == line), "{log:?}");
        let test = world.minidocker(["inspect", name]).json()[0]["Config"]["Healthcheck"]["Test"].clone();
        let path = url.rsplit('/').next().expect("a path");
        assert_eq!(test, json!(["HTTP", format!("http://127.0.0.1:7002/{path}")]));
        world.minidocker(["rm", "-f", name]).ok();
    }
}

#[test]
fn in_the_start_period_failures_do_not_count() {
    let world = World::new();
    let options = ["--health-cmd", "echo >>/count; test -e /tmp/well", "--health-start-period", "1h"];
    let options = [&options[..], &["--health-start-interval", "50ms", "--health-interval", "1h"]].concat();
    start(&world, "web", &options, "sleep 1000");
    until("it was looked at some times", || count(&world, "web") >= 3);
    let known = health(&world, "web");
    assert_eq!((&known["Status"], &known["FailingStreak"]), (&json!("starting"), &json!(0)));
    world.minidocker(["exec", "web", "touch", "/tmp/well"]).ok();
    until_it_is(&world, "web", "healthy");
    // Now the interval counts, and failures do.
    world.minidocker(["exec", "web", "rm", "/tmp/well"]).ok();
    let made = count(&world, "web");
    assert_eq!(world.minidocker(["healthcheck", "run", "web"]).exits(1).out(), "unhealthy\n");
    assert_eq!(
        (count(&world, "web"), health(&world, "web")["Status"].clone()),
        (made + 1, json!("unhealthy"))
    );
    world.minidocker(["exec", "web", "touch", "/tmp/well"]).ok();
    let made = count(&world, "web");
    for _ in 0..10 {
        world.minidocker(["healthcheck", "run", "web"]).prints("");
    }
    assert_eq!(count(&world, "web"), made + 10, "each is a check of its own, one right after the other");
    assert_eq!(told(&world, "web").len(), 3);
    world.minidocker(["rm", "-f", "web"]).ok();
}

#[test]
fn a_check_that_takes_too_long_is_killed_with_all_that_it_started() {
    let world = World::new();
    let check = "echo begun; sleep 901 & setsid sleep 902 & sleep 903";
    let options = ["--health-cmd", check, "--health-timeout", "300ms", "--health-interval", "100ms"];
    let id = start(&world, "web", &options, "sleep 1000");
    until("the check runs", || commands(&world, &id).contains(&"sleep 902".to_owned()));
    until_it_is(&world, "web", "unhealthy");
    let first = health(&world, "web")["Log"][0].clone();
    assert_eq!(
        (&first["ExitCode"], &first["Output"]),
        (&json!(-1), &json!("Health check exceeded timeout (300ms): begun\n"))
    );
    until("some more were made", || health(&world, "web")["Log"].as_array().map(Vec::len) == Some(5));
    let sleeping = commands(&world, &id).into_iter().filter(|line| line.starts_with("sleep 90")).count();
    assert!(sleeping <= 3, "those of one check at most, there are {sleeping}");

    // One by network too: it connects, and nobody answers.
    let options = ["--health-http", ":7003", "--health-timeout", "200ms"];
    let serve = "mkdir /www; echo >/www/index.html; httpd -f -p 7003 -h /www &";
    let script =
        "until wget -q -O /dev/null http://127.0.0.1:7003/; do sleep 0.05; done; kill -STOP $!; wait";
    let script = format!("{serve} {script}");
    start(&world, "mute", &options, &script);
    let last = || health(&world, "mute")["Log"].as_array().and_then(|log| log.last()).cloned();
    until("it was too slow", || last().is_some_and(|last| last["ExitCode"] == -1));
    assert_eq!(last().expect("an answer")["Output"], "Health check exceeded timeout (200ms)");
    world.minidocker(["rm", "-f", "mute"]).ok();

    // A stop in the middle of a check leaves nothing behind.
    world.minidocker(["stop", "-t", "0", "web"]).ok();
    assert_eq!(commands(&world, &id), Vec::<String>::new());
    world.minidocker(["rm", "web"]).ok();
    world.expect_nothing_left();
}

#[test]
fn what_a_check_prints_is_kept_up_to_a_bound_and_blocks_nobody() {
    let world = World::new();
    start(&world, "web", &["--health-cmd", "yes", "--health-timeout", "500ms"], "sleep 1000");
    until_it_is(&world, "web", "unhealthy");
    let output = health(&world, "web")["Log"][0]["Output"].as_str().expect("text").to_owned();
    let printed = output.strip_prefix("Health check exceeded timeout (500ms): ").expect("the reason first");
    assert_eq!(printed, "y\n".repeat(2048) + "...");
    world.minidocker(["exec", "web", "true"]).ok();
    world.minidocker(["rm", "-f", "web"]).ok();

    let root = world.rootfs_inside().overlay();
    let words = ["--name", "bare", "--health-cmd", "true", "--rootfs", &root, "/inside", "pause"];
    world.detached([&OFTEN[..], &words].concat());
    until_it_is(&world, "bare", "unhealthy");
    let first = health(&world, "bare")["Log"][0].clone();
    assert_eq!(first["ExitCode"], -1);
    assert!(first["Output"].as_str().is_some_and(|text| text.contains("/bin/sh: no such file")), "{first}");
    world.minidocker(["rm", "-f", "bare"]).ok();
}

#[test]
fn a_paused_container_is_left_alone() {
    let world = World::new();
    let options = ["--health-cmd", "echo >>/count", "--health-timeout", "200ms"];
    start(&world, "web", &options, "sleep 1000");
    until_it_is(&world, "web", "healthy");
    world.minidocker(["pause", "web"]).ok();
    let now = world.program(["date", "-u", "+%FT%T.%NZ"]).run().text();
    let asked_since = || {
        let log = health(&world, "web")["Log"].as_array().expect("a list").clone();
        log.iter().any(|one| one["Start"].as_str().expect("a time") > now.as_str())
    };
    // So long as ten checks would take. One that was made just then is given up, and does not count.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(!asked_since(), "{}", health(&world, "web"));
    assert_eq!(health(&world, "web")["Status"], "healthy");
    assert!(world.minidocker(["ps"]).out().contains("(Paused)"));
    world.minidocker(["healthcheck", "run", "web"]).refuses(125, &["web", "paused"]);
    world.minidocker(["unpause", "web"]).ok();
    until("it is looked at again", asked_since);
    assert_eq!(told(&world, "web"), ["health_status: healthy"], "it never failed");
    world.minidocker(["rm", "-f", "web"]).ok();
}

#[test]
fn a_further_start_begins_anew_by_hand_and_by_its_policy() {
    let world = World::new();
    let options = ["--health-cmd", "test -e /tmp/well", "--health-start-period", "1h", "--restart", "always"];
    let options = [&options[..], &["--health-start-interval", "50ms"]].concat();
    // It is well when it is started for the first time only.
    let id =
        start(&world, "web", &options, "test -e /again || touch /tmp/well; touch /again; exec sleep 1000");
    until_it_is(&world, "web", "healthy");
    world.minidocker(["exec", "web", "rm", "/tmp/well"]).ok();
    until_it_is(&world, "web", "unhealthy");
    assert_eq!(
        world.minidocker(["inspect", "-f", "{{.RestartCount}}", "web"]).text(),
        "0",
        "it is not started again for that"
    );
    kill(world.init(&id));
    until("its policy has started it", || {
        world.minidocker(["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "web"]).text()
            == "1 running"
    });
    until_it_is(&world, "web", "starting");
    assert_eq!(health(&world, "web")["FailingStreak"], 0);
    world.minidocker(["restart", "-t", "0", "web"]).ok();
    assert_eq!(health(&world, "web")["Status"], "starting");
    until("it is looked at", || health(&world, "web")["Log"].as_array().is_some_and(|log| !log.is_empty()));
    world.minidocker(["rm", "-f", "web"]).ok();
}

#[test]
fn the_next_monitor_goes_on_with_what_was_known() {
    let world = World::new();
    let options = ["--health-cmd", "echo >>/count; test -e /tmp/well", "--health-start-period", "1h"];
    let options = [&options[..], &["--health-start-interval", "50ms"]].concat();
    let id = start(&world, "web", &options, "sleep 1000");
    world.minidocker(["exec", "web", "touch", "/tmp/well"]).ok();
    until_it_is(&world, "web", "healthy");
    let before = monitor(&world, &id).expect("a monitor");
    kill(before);
    until("another has taken its place", || {
        world.minidocker(["ps"]).ok();
        monitor(&world, &id).is_some_and(|new| new != before)
    });
    assert_eq!(health(&world, "web")["Status"], "healthy");
    let made = count(&world, "web");
    until("it goes on", || count(&world, "web") > made);
    // In the start period, but it was healthy once: a failure counts.
    world.minidocker(["exec", "web", "rm", "/tmp/well"]).ok();
    until_it_is(&world, "web", "unhealthy");
    assert_eq!(told(&world, "web"), ["health_status: healthy", "health_status: unhealthy"]);
    world.minidocker(["rm", "-f", "web"]).ok();
    world.expect_nothing_left();
}

#[test]
fn a_monitor_that_is_killed_in_the_middle_of_a_check_takes_the_check_with_it() {
    let world = World::new();
    let id = start(&world, "web", &["--health-cmd", "exec sleep 904"], "sleep 1000");
    let checks = || commands(&world, &id).iter().filter(|line| *line == "sleep 904").count();
    until("the check runs", || checks() == 1);
    kill(monitor(&world, &id).expect("a monitor"));
    until("the check has ended", || checks() == 0);
    world.minidocker(["rm", "-f", "web"]).ok();
    world.expect_nothing_left();
}

#[test]
fn what_is_typed_wrong_is_refused() {
    let world = World::new();
    let refused = |options: &[&str], words: &[&str]| {
        for command in ["run", "create"] {
            world.minidocker([&[command], options, &["host", "true"]].concat()).refuses(125, words);
        }
    };
    let conflict = &["--no-healthcheck conflicts with --health-* options"];
    refused(&["--no-healthcheck", "--health-cmd", "true"], conflict);
    refused(&["--no-healthcheck", "--health-retries", "2"], conflict);
    refused(&["--health-cmd", "true", "--health-tcp", "80"], &["--health-tcp", "one check"]);
    refused(&["--health-interval", "-1s"], &["--health-interval", "cannot be negative"]);
    refused(&["--health-timeout", "10us"], &["--health-timeout", "less than 1ms"]);
    refused(&["--health-start-period", "soon"], &["--health-start-period", "30s"]);
    refused(&["--health-retries", "-1"], &["--health-retries", "cannot be negative"]);
    refused(&["--health-tcp", "web:80"], &["--health-tcp", "127.0.0.1:80"]);
    refused(&["--health-http", "https://localhost/"], &["--health-http", "no TLS"]);
    refused(&["--health-http", "http://example.org/"], &["--health-http", "names are not looked up"]);
    world.minidocker(["healthcheck", "run"]).refuses(125, &["needs one container"]);
    world.minidocker(["healthcheck", "run", "nobody"]).refuses(125, &["no such container"]);
    let root = world.rootfs_inside().overlay();
    world.minidocker(["create", "--name", "c1", "--rootfs", &root, "/inside", "pause"]).ok();
    world.minidocker(["healthcheck", "run", "c1"]).refuses(125, &["c1", "has no defined healthcheck"]);
    world
        .minidocker(["create", "--name", "c2", "--health-tcp", "80", "--rootfs", &root, "/inside", "true"])
        .ok();
    world.minidocker(["healthcheck", "run", "c2"]).refuses(125, &["c2", "not running"]);
    world.minidocker(["rm", "c1", "c2"]).ok();
}

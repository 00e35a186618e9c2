//! Builds that fail: exit code 1, the line with its caret, one `error:` line; and nothing is left.

use std::fs;

use minidocker_tests::Output;

use crate::ground::{Ground, names};

/// Asserts how a failure looks, and gives what was said.
#[track_caller]
pub(crate) fn fails(output: Output, line: usize, words: &str) -> String {
    let output = output.exits(1);
    let said = output.err();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors.as_slice() else { panic!("{} error lines of {output:?}", errors.len()) };
    assert!(error.starts_with(&format!("error: Dockerfile:{line}: ")), "{output:?}");
    assert!(error.contains(words), "`{words}` is not in the error of {output:?}");
    let after: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("error: ")).skip(1).collect();
    assert!(after.len() <= 1 && after.iter().all(|line| line.starts_with("hint: ")), "{output:?}");
    assert_eq!(output.out(), "");
    said
}

/// What stands above the caret.
fn pointed(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let at =
        lines.iter().position(|line| line.trim_start().starts_with("| ") && line.trim_end().ends_with('^'));
    let at = at.unwrap_or_else(|| panic!("no caret in {said}"));
    let first = lines[at].find('^').expect("a caret");
    let end = lines[at].trim_end().len();
    lines[at - 1].get(first..end).unwrap_or_default().to_owned()
}

#[test]
fn what_is_wrong_is_pointed_at() {
    let ground = Ground::new();
    ground.context.file("a", "a");
    ground.context.file("b", "b");
    for (dockerfile, line, words, at) in [
        ("FOO x\n", 2, "there is no instruction FOO", "FOO"),
        ("RUN true\nCOYP a /\n", 3, "COYP", "COYP"),
        ("COPY --bad=1 a /\n", 2, "--bad", "--bad"),
        ("RUN --mount=type=nothing,target=/x true\n", 2, "nothing", "nothing"),
        ("COPY --from=9 a /\n", 2, "no stage 9", "COPY --from=9 a /"),
        ("RUN true\nCOPY none /\n", 3, "there is no such file", "COPY none /"),
        ("COPY a b /c\n", 2, "needs a directory", "/c"),
        ("COPY a\n", 2, "COPY", "COPY a"),
        ("ENV =x\n", 2, "name", "ENV =x"),
        ("ENV A\n", 2, "ENV", "A"),
        ("EXPOSE 99999\n", 2, "99999", "EXPOSE 99999"),
        ("RUN echo ${X:?wanted}\nENV A=${X:?wanted}\n", 2, "ended with exit code", "RUN echo"),
        ("ENV A=${X:?wanted}\n", 2, "wanted", "${X:?wanted}"),
        ("ENV A=${X\n", 2, "${X", "${X"),
        ("HEALTHCHECK --interval=never CMD x\n", 2, "never", "--interval=never"),
        ("ONBUILD ONBUILD RUN x\n", 2, "ONBUILD", "ONBUILD"),
        ("SHELL sh -c\n", 2, "SHELL", "sh -c"),
        ("RUN <<E\nnever ends\n", 2, "E", "RUN <<E"),
        ("ARG 1X=\nRUN --mount=type=secret,id=none,required=true true\n", 3, "none", "type=secret,id=none"),
    ] {
        let said = fails(ground.build(dockerfile, &[]), line, words);
        let pointed = pointed(&said);
        assert!(
            pointed.contains(at) || at.contains(&pointed) && !pointed.is_empty(),
            "`{pointed}` is pointed at, not `{at}`:\n{said}"
        );
    }
    ground.expect_nothing_left();
}

#[test]
fn a_file_without_a_stage_to_build_is_refused() {
    let ground = Ground::new();
    let build = |text: &str, words: &[&str]| {
        ground.context.file("Dockerfile", text);
        ground.call(words).run()
    };
    fails(build("RUN true\n", &[]), 1, "FROM");
    fails(build("FROM ${NOTHING}\n", &[]), 1, "is empty");
    fails(build("ARG A=1\nRUN x\nFROM base:1\n", &[]), 2, "FROM");
    for empty in ["", "\n\n# comment\n"] {
        let output = build(empty, &[]).exits(1);
        assert!(output.err().lines().any(|line| line.starts_with("error: ")), "{output:?}");
    }
    // Only what stands above is a stage: these name themselves and each other.
    fails(build("FROM base:1 AS a\nCOPY --from=a /x /y\n", &[]), 2, "itself");
    let output = build("FROM base:1\n", &["--target", "none"]);
    output.refuses(1, &["no stage none"]);
    let output = build("FROM base:1 AS x\n", &["--target", "y"]);
    output.refuses(1, &["no stage y"]).hints("x");
    ground.expect_nothing_left();
}

#[test]
fn stages_that_need_each_other_are_refused() {
    let ground = Ground::new();
    // A later stage's name is an image's, for which no registry answers here.
    let dockerfile = "FROM base:1 AS a\nCOPY --from=b /x /y\nFROM a AS b\nRUN true\n";
    let output = ground.build(dockerfile, &[]).exits(1);
    assert!(output.err().contains("error: Dockerfile:"), "{output:?}");
    ground.expect_nothing_left();
}

#[test]
fn a_command_that_fails_is_told_with_its_words() {
    let ground = Ground::new();
    let said =
        fails(ground.build("RUN true\nRUN echo to-out; echo to-err >&2; exit 3\n", &[]), 3, "exit code 3");
    assert!(said.contains(" to-out\n") && said.contains(" to-err\n"), "{said}");
    assert!(pointed(&said).starts_with("RUN echo to-out"), "{said}");
    fails(ground.build("RUN flase\n", &[]), 2, "exit code 127");
    let said = fails(ground.build("RUN sh -c 'kill -9 $$'; exit $?\n", &[]), 2, "exit code 137");
    assert!(said.contains("SIGKILL"), "{said}");
    fails(ground.build("RUN sh -c 'kill -TERM $$'; exit $?\n", &[]), 2, "exit code 143");
    fails(ground.build("RUN [\"/not/there\"]\n", &[]), 2, "no such file or directory");
    fails(ground.build("RUN [\"/etc/passwd\"]\n", &[]), 2, "/etc/passwd");
    fails(ground.build("USER nobody-here\nRUN true\n", &[]), 3, "nobody-here");
    fails(ground.build("SHELL [\"/bin/nosh\", \"-c\"]\nRUN true\n", &[]), 3, "/bin/nosh");
    fails(ground.build("RUN \\\n  true && \\\n  false\n", &[]), 2, "exit code 1");
    // What came before is kept.
    let again = ground.build("RUN true\nRUN echo another\n", &[]).ok();
    assert!(again.err().contains(" CACHED"), "{again:?}");
    ground.expect_nothing_left();
}

#[test]
fn a_quiet_build_that_fails_still_says_why() {
    let ground = Ground::new();
    let said = fails(ground.build("RUN echo words >&2; exit 5\n", &["-q"]), 2, "exit code 5");
    assert!(said.contains("words"), "what the command said is missing: {said}");
    ground.expect_nothing_left();
}

#[test]
fn a_command_without_memory_is_told() {
    let ground = Ground::new();
    // Makes the group above the containers.
    ground.build("RUN true\n", &[]).ok();
    let name = ground.world.cgroup_parent();
    let limits = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
    let limit = limits.map(|(hierarchy, file)| format!("/sys/fs/cgroup/{hierarchy}{name}/{file}"));
    let limit = limit.iter().find(|path| fs::exists(path).unwrap_or(false)).expect("a limit on memory");
    fs::write(limit, "64000000").expect("our own group");
    let said = fails(
        ground.build("RUN [\"tail\", \"-c\", \"200000000\", \"/dev/zero\"]\n", &[]),
        2,
        "exit code 137",
    );
    assert!(said.contains("memory"), "{said}");
    ground.expect_nothing_left();
}

#[test]
fn a_base_that_is_not_there_is_told_with_its_line() {
    let ground = Ground::new();
    let said = fails(ground.build("FROM 127.0.0.1:1/none:1\nRUN true\n", &[]), 1, "127.0.0.1:1");
    assert!(pointed(&said).starts_with("FROM"), "{said}");
    ground.expect_nothing_left();
    assert!(names(&ground.world.root().join("containers")).is_empty());
}

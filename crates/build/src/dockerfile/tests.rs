//! Tables of Dockerfiles: what they mean, and what is said of those that mean nothing.

use super::expand::{expand, expand_text};
use super::*;

fn steps(body: &str) -> Vec<Step> {
    let source = format!("FROM x\n{body}\n");
    match parse(&source) {
        Ok(file) => file.stages.into_iter().next().unwrap().steps,
        Err(error) => panic!("{error}"),
    }
}

fn one(body: &str) -> Instruction {
    let mut all = steps(body);
    assert_eq!(all.len(), 1, "{body}: {all:?}");
    all.remove(0).instruction
}

fn run(body: &str) -> Run {
    match one(body) {
        Instruction::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn copy(body: &str) -> Copy {
    match one(body) {
        Instruction::Copy(copy) => copy,
        other => panic!("{other:?}"),
    }
}

fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

#[test]
fn stages_have_names_platforms_and_arguments() {
    let file = parse(
        "# syntax=docker/dockerfile:1\n# escape=\\\n\nARG V=1\nfrom --platform=$BUILDPLATFORM debian:$V as Builder\nRUN a\nFROM scratch\n",
    )
    .unwrap();
    assert_eq!(file.directives.syntax.as_deref(), Some("docker/dockerfile:1"));
    assert_eq!(file.arguments[0].name, "V");
    assert_eq!(file.arguments[0].default.as_ref().unwrap().text, "1");
    let [builder, last] = &file.stages[..] else { panic!() };
    assert_eq!((builder.image.text.as_str(), builder.name.as_deref()), ("debian:$V", Some("builder")));
    assert_eq!(builder.platform.as_ref().unwrap().text, "$BUILDPLATFORM");
    assert_eq!((builder.steps.len(), last.name.as_deref()), (1, None));
}

#[test]
fn lines_go_on_and_comments_in_them_go() {
    for (body, text) in [
        ("RUN a \\\n  && b", "a   && b"),
        ("RUN a \\\n# comment\n\n   # more\n  b", "a   b"),
        ("RUN a \\  \t\n b", "a  b"),
        ("RUN a \\\\\nRUN b", "a \\\\"),
        ("RUN a \\\r\n b\r", "a  b"),
        ("   \t run   a # no comment", "a # no comment"),
        ("RUN a \\", "a"),
    ] {
        let all = steps(body);
        let Instruction::Run(run) = &all[0].instruction else { panic!() };
        assert_eq!(run.command, Command::Shell(text.to_owned()), "{body}");
    }
    let file = parse("# escape=`\nFROM x\nRUN dir `\n c:\\\nRUN b\n").unwrap();
    let Instruction::Run(first) = &file.stages[0].steps[0].instruction else { panic!() };
    assert_eq!(first.command, Command::Shell("dir  c:\\".to_owned()));
    assert_eq!(file.stages[0].steps.len(), 2);
    // After a comment a directive is one too.
    assert_eq!(parse("# hello\n# escape=`\nFROM x\n").unwrap().directives.escape, '\\');
    assert_eq!(parse("\u{feff}FROM x").unwrap().stages.len(), 1);
}

#[test]
fn a_span_leads_through_continuations() {
    let source = "FROM x\nRUN a \\\n  b\nCOPY --chwon=1 \\\n a b\n";
    let error = parse(source).unwrap_err();
    assert_eq!((error.place.line, error.place.column, error.place.width), (4, 6, 7));
    let error = parse("FROM x\nCOPY \\\n --chwon=1 a b").unwrap_err();
    assert_eq!((error.place.line, error.place.column), (3, 2));
}

#[test]
fn commands_have_two_forms() {
    assert_eq!(run("RUN [\"a\", \"b c\"]").command, Command::Exec(vec!["a".into(), "b c".into()]));
    assert_eq!(run("RUN [a]").command, Command::Shell("[a]".into()));
    assert_eq!(run("RUN ['a']").command, Command::Shell("['a']".into()));
    assert_eq!(one("CMD []"), Instruction::Cmd(Command::Exec(vec![])));
    assert_eq!(one("ENTRYPOINT x y"), Instruction::Entrypoint(Command::Shell("x y".into())));
    assert_eq!(
        one("SHELL [\"/bin/bash\",\"-c\"]"),
        Instruction::Shell(vec!["/bin/bash".into(), "-c".into()])
    );
}

#[test]
fn heredocs_have_bodies() {
    let all = run("RUN <<EOF\na\n  b $x\nEOF");
    assert_eq!(all.command, Command::Shell("<<EOF".into()));
    assert_eq!(all.heredocs, [Heredoc { name: "EOF".into(), content: "a\n  b $x\n".into(), expand: true }]);
    let all = run("RUN cat <<-'A' > x && cat <<B\n\t\ta\n\tA\n# no comment \\\nB");
    assert_eq!(all.heredocs.len(), 2);
    assert_eq!((all.heredocs[0].content.as_str(), all.heredocs[0].expand), ("a\n", false));
    assert_eq!(all.heredocs[1].content, "# no comment \\\n");
    let all = copy("COPY <<a.txt <<\"b.txt\" c /d/\none\na.txt\ntwo\nb.txt");
    assert!(matches!(&all.sources[..], [Source::Heredoc(a), Source::Heredoc(b), Source::Path(c)]
        if a.name == "a.txt" && a.expand && b.content == "two\n" && !b.expand && c.text == "c"));
    // None of these is one.
    for body in ["RUN echo $((1<<2))", "RUN cat <<<word", "RUN a '<<EOF'", "RUN a << b"] {
        assert!(run(body).heredocs.is_empty(), "{body}");
    }
    assert!(parse("FROM x\nRUN <<EOF\na\n").unwrap_err().message.contains("has no end"));
}

#[test]
fn copies_have_flags() {
    let all =
        copy("COPY --from=0 --chown=a:b --chmod=755 --link --parents=true --exclude=*.o --exclude=x a b /c/");
    assert_eq!(all.from.unwrap().text, "0");
    assert_eq!((all.chown.unwrap().text, all.chmod.unwrap().text), ("a:b".into(), "755".into()));
    assert!(all.link && all.parents && !all.add);
    assert_eq!(texts(&all.exclude), ["*.o", "x"]);
    assert_eq!((all.sources.len(), all.destination.text.as_str()), (2, "/c/"));
    let all = copy("ADD --checksum=sha256:1 [\"a b\", \"/c\"]");
    assert!(all.add && matches!(&all.sources[..], [Source::Path(word)] if word.text == "a b"));
}

#[test]
fn mounts_have_keys() {
    let all = run(
        "RUN --mount=type=cache,target=/c,id=x,sharing=locked,mode=0700,uid=5 --mount=target=/b,from=s,src=/p,rw --network=none a",
    );
    assert_eq!(all.network, Network::None);
    assert!(
        matches!(&all.mounts[0].kind, MountKind::Cache { id: Some(id), sharing: Sharing::Locked, mode: 0o700, uid: 5, .. } if id == "x")
    );
    assert!(
        matches!(&all.mounts[1].kind, MountKind::Bind { from: Some(from), source, writable: true } if from == "s" && source == "/p")
    );
    let all = run(
        "RUN --mount=type=tmpfs,target=/t,size=64m --mount=type=secret,id=k,env=K,required --mount=type=secret,target=/run/x --mount=type=ssh a",
    );
    assert_eq!(all.mounts[0].kind, MountKind::Tmpfs { size: Some(64 << 20) });
    assert!(
        matches!(&all.mounts[1].kind, MountKind::Secret { id, required: true, env: Some(env), mode: 0o400, .. } if id == "k" && env == "K")
    );
    assert!(matches!(&all.mounts[2].kind, MountKind::Secret { id, .. } if id == "x"));
    assert!(matches!(&all.mounts[3].kind, MountKind::Ssh { id, required: false } if id == "default"));
}

#[test]
fn names_and_values_have_two_forms() {
    let pairs = |body: &str| match one(body) {
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.into_iter().map(|(name, value)| (name.text, value.text)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(pairs("ENV a b  c"), [pair("a", "b  c")]);
    assert_eq!(
        pairs("ENV a=b c=\"d e\" f=g\\ h i="),
        [pair("a", "b"), pair("c", "\"d e\""), pair("f", "g\\ h"), pair("i", "")]
    );
    assert_eq!(pairs("LABEL \"a b\"=c"), [pair("\"a b\"", "c")]);
}

#[test]
fn health_checks_have_times() {
    let Instruction::Healthcheck(Healthcheck::Cmd {
        command, interval, timeout, retries, start_period, ..
    }) = one("HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 --start-period=0 CMD [\"x\"]")
    else {
        panic!()
    };
    assert_eq!((interval, timeout, retries, start_period), (90_000_000_000, 1_500_000_000, 3, 0));
    assert_eq!(command, Command::Exec(vec!["x".into()]));
    assert_eq!(one("HEALTHCHECK none"), Instruction::Healthcheck(Healthcheck::None));
}

#[test]
fn triggers_are_checked_and_kept() {
    assert_eq!(one("ONBUILD COPY . /app"), Instruction::OnBuild("COPY . /app".into()));
    assert!(matches!(parse_trigger("RUN make").unwrap().instruction, Instruction::Run(_)));
    for wrong in
        ["ONBUILD FROM x", "ONBUILD ONBUILD RUN x", "ONBUILD COPY x", "ONBUILD", "ONBUILD RUN <<EOF\nx\nEOF"]
    {
        assert!(parse(&format!("FROM x\n{wrong}\n")).is_err(), "{wrong}");
    }
    assert!(parse_trigger("").is_err());
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    for (source, message, hint, line, column) in [
        ("", "there is no FROM", Some("a Dockerfile begins with FROM"), 1, 1),
        ("FORM x", "there is no instruction FORM", Some("did you mean FROM?"), 1, 1),
        (
            "RUN x",
            "RUN stands before the first FROM",
            Some("a Dockerfile begins with FROM; only ARG may stand before"),
            1,
            1,
        ),
        ("FROM", "FROM needs an image", Some("FROM scratch begins with nothing"), 1, 1),
        ("FROM x y", "FROM takes an image, and AS with a name", Some("FROM image AS name"), 1, 8),
        (
            "FROM x AS 1",
            "a stage's name begins with a letter and has letters, digits, `-`, `_` and `.`",
            None,
            1,
            11,
        ),
        ("FROM x AS a\nFROM y AS A", "there is a stage a already", None, 2, 1),
        ("FROM x\nCOPY a", "COPY needs a source and a destination", Some("COPY source /destination"), 2, 1),
        ("FROM x\nCOPY a b c", "COPY of several sources needs a directory as destination", Some("c/"), 2, 10),
        ("FROM x\nCOPY --form=b a /", "COPY has no flag --form", Some("did you mean --from?"), 2, 6),
        ("FROM x\nCOPY --from a /", "--from needs a value", Some("--from=…"), 2, 6),
        ("FROM x\nCOPY --link=maybe a /", "--link is true or false", None, 2, 13),
        ("FROM x\nENV --x=1 a=b", "ENV has no flag --x", None, 2, 5),
        ("FROM x\nENV a", "ENV a has no value", Some("ENV a=…"), 2, 5),
        ("FROM x\nENV a=b c", "ENV: `c` has no =", Some("a value with spaces in it stands in quotes"), 2, 9),
        ("FROM x\nRUN --network=bridge a", "--network is default, none or host, not bridge", None, 2, 15),
        (
            "FROM x\nRUN --security=insecure a",
            "--security is not done here: a command of a build runs with the rights that containers have, never with more",
            None,
            2,
            5,
        ),
        (
            "FROM x\nRUN --mount=type=cahce,target=/x a",
            "--mount has no type cahce",
            Some("did you mean cache?"),
            2,
            13,
        ),
        (
            "FROM x\nRUN --mount=type=cache,traget=/x a",
            "a mount of type cache has no key traget",
            Some("did you mean target?"),
            2,
            13,
        ),
        (
            "FROM x\nRUN --mount=type=bind a",
            "a mount of type bind needs a target",
            Some("target=/path"),
            2,
            13,
        ),
        ("FROM x\nSHELL /bin/sh", "SHELL takes a list in JSON", Some("SHELL [\"/bin/bash\", \"-c\"]"), 2, 1),
        (
            "FROM x\nHEALTHCHECK --interval=1us CMD a",
            "--interval=1us is no time of at least a millisecond",
            Some("30s, 1m30s, 500ms"),
            2,
            24,
        ),
        (
            "FROM x\nCOPY --keep-git-dir a b",
            "COPY has no flag --keep-git-dir",
            Some("it has --from, --chown, --chmod, --link, --parents, --exclude"),
            2,
            6,
        ),
        ("# escape=x\nFROM x", "escape is \\ or `, nothing else", None, 1, 1),
    ] {
        let error = parse(source).unwrap_err();
        let at = (error.place.line, error.place.column);
        assert_eq!(
            (error.message.as_str(), error.hint.as_deref(), at),
            (message, hint, (line, column)),
            "{source}"
        );
    }
}

fn lookup(name: &str) -> Option<String> {
    match name {
        "x" => Some("value".into()),
        "empty" => Some(String::new()),
        "path" => Some("/a/b/b.tar.gz".into()),
        "star" => Some("*".into()),
        _ => None,
    }
}

#[test]
fn variables_are_expanded_as_a_shell_does() {
    for (word, expected) in [
        ("$x", "value"),
        ("${x}", "value"),
        ("a$x.b", "avalue.b"),
        ("$none", ""),
        ("${none}", ""),
        ("${none:-d}", "d"),
        ("${none-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${x:-d}", "value"),
        ("${x:+a}", "a"),
        ("${empty:+a}", ""),
        ("${empty+a}", "a"),
        ("${none+a}", ""),
        ("${x:?e}", "value"),
        ("${none:-${x}}", "value"),
        ("${none:-a$x}", "avalue"),
        ("\\$x", "$x"),
        ("\\${x}", "${x}"),
        ("'$x'", "$x"),
        ("\"$x\"", "value"),
        ("\"\\$x\"", "$x"),
        ("\"a\\b\"", "a\\b"),
        ("a\\b", "ab"),
        ("\"it's\"", "it's"),
        ("'a\"b'", "a\"b"),
        ("$", "$"),
        ("$$", ""),
        ("$$x", "x"),
        ("a$@b", "ab"),
        ("$ x", "$ x"),
        ("a\\ b", "a b"),
        ("\\", ""),
        ("${path#*/}", "a/b/b.tar.gz"),
        ("${path##*/}", "b.tar.gz"),
        ("${path%.*}", "/a/b/b.tar"),
        ("${path%%.*}", "/a/b/b"),
        ("${path/b/X}", "/a/X/b.tar.gz"),
        ("${path//b/X}", "/a/X/X.tar.gz"),
        ("${path//[/]/-}", "/a/b/b.tar.gz"),
        ("${path//\\//-}", "-a-b-b.tar.gz"),
        ("${x#?}", "alue"),
        ("${x%${star}}", "value"),
        ("${x/l*/}", "va"),
        ("${x#none}", "value"),
        ("ä$x", "ävalue"),
        ("$x_y", ""),
    ] {
        assert_eq!(expand(word, '\\', &lookup).as_deref(), Ok(expected), "{word}");
    }
    for (word, words) in [
        ("${x", "`${x` has no }"),
        ("${", "`${` needs a name"),
        ("${x:", "`${x` has no }"),
        ("${x!}", "`${x!` is no substitution"),
        ("'a", "a single quote has no end"),
        ("\"a", "a double quote has no end"),
        ("${none:?must be}", "none: must be"),
        ("${none?}", "none is not set"),
        ("${x:-a", "a } is missing"),
        ("${x:=a}", "`${x:=` is no substitution"),
    ] {
        assert_eq!(expand(word, '\\', &lookup), Err(words.to_owned()), "{word}");
    }
    let deep = "${none:-".repeat(5000);
    assert!(expand(&deep, '\\', &lookup).is_err());
    assert_eq!(expand_text("a 'b' \"$x\" \\n \\$x\n", '\\', &lookup).unwrap(), "a 'b' \"value\" \\n $x\n");
    assert_eq!(expand("$x`$x", '`', &lookup).unwrap(), "value$x");
}

#[test]
fn no_input_makes_it_panic() {
    let pieces = [
        "FROM",
        "x",
        "RUN",
        "COPY",
        "<<E",
        "\n",
        "\\",
        "\"",
        "'",
        "$",
        "{",
        "}",
        "--mount=",
        "type=",
        "=",
        ",",
        " ",
        "#",
        "[",
        "]",
        "ä",
        "\u{feff}",
        "\r",
        "\t",
        "AS",
        "ONBUILD",
        "HEALTHCHECK",
        "CMD",
        "ENV",
        "--",
        "\0",
    ];
    let mut state = 7_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..24 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        match parse(&text) {
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        let _ = expand(&text, '\\', &lookup);
    }
}

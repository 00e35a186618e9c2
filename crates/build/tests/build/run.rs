//! What a RUN sees and leaves.

use crate::world::World;
use build::Secret;
use std::fs;
use std::sync::atomic::Ordering;

#[test]
fn a_command_sees_its_environment_and_leaves_a_layer() {
    let world = World::new("run");
    let mut request = world.request(
        "ARG G=global\nFROM base\nARG A=1\nARG G\nARG NONE\nENV B=2 A=env\nUSER web\nWORKDIR /work\nARG TARGETARCH\n\
         RUN echo $A $B $BASE $G ${NONE-unset} $TARGETARCH $HTTP_PROXY > out && id -u >> out && pwd >> out\n\
         USER root\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN [\"/bin/touch\", \"/a b\"]\nRUN rm /a\\ b && rm -r /srv/data && mkdir /srv/data\n\
         RUN <<EOF\necho one > /h\necho $BASE >> /h\nEOF\nRUN <<EOF cat > /i && cat <<-OTHER >> /i\nfirst\nEOF\n\tsecond\nOTHER\n\
         RUN <<S\n#!/bin/cat\nscript\nS\n",
    );
    request.arguments.insert("HTTP_PROXY".into(), "proxy".into());
    let built = world.with(&request).unwrap_or_else(|error| panic!("{error}"));
    let tree = world.tree(&built);
    let arch = oci::Platform::host().architecture().to_owned();
    assert_eq!(tree["work/out"], format!("644 33:34 = env 2 1 global unset {arch} proxy\n33\n/work"));
    assert!(tree["work"].starts_with("755 33:34"));
    assert!(!tree.contains_key("a b") && tree["srv/data"].starts_with("755 0:0"));
    assert_eq!((tree["h"].as_str(), tree["i"].as_str()), ("644 0:0 = one\n1", "644 0:0 = first\nsecond"));
    assert!(!tree.contains_key("dev/pipes"), "of mounts nothing stays");
    assert!(world.said.lock().unwrap().contains("#!/bin/cat\nscript\n"));
    let config = world.config(&built);
    let history: Vec<&str> = config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["created_by"].as_str().unwrap())
        .collect();
    assert_eq!(history[1], "ARG A=1");
    assert!(
        history[8].starts_with("RUN |3 A=1 G=global TARGETARCH=") && history[8].ends_with("# buildkit"),
        "{}",
        history[8]
    );
    assert!(
        history[11].starts_with("RUN |3 ") && history[11].ends_with(" /bin/touch /a b # buildkit"),
        "{}",
        history[11]
    );
    assert!(
        history[12].ends_with(" /bin/sh -e -c rm /a\\ b && rm -r /srv/data && mkdir /srv/data # buildkit"),
        "{}",
        history[12]
    );
    assert!(!String::from_utf8_lossy(&built.config).contains("proxy"));
    let layers =
        config["history"].as_array().unwrap().iter().filter(|entry| entry["empty_layer"] != true).count();
    assert_eq!(
        (layers, config["rootfs"]["diff_ids"].as_array().unwrap().len()),
        (built.layers.len(), built.layers.len())
    );
    world.is_tidy();
}

#[test]
fn a_failing_command_is_told_with_its_line() {
    let world = World::new("fails");
    let error = world.try_build("FROM base\nRUN echo before && \\\n  exit 3\nRUN echo never\n").unwrap_err();
    assert_eq!(error.code, Some(3));
    assert_eq!(
        error.to_string(),
        "Dockerfile:2: the command ended with exit code 3: /bin/sh -c echo before &&   exit 3\n 2 | RUN echo before && \\\n   | ^^^^^^^^^^^^^^^^^^^^"
    );
    let said = world.said.lock().unwrap().clone();
    assert!(
        said.contains("#2 [stage-0 2/3] RUN echo before &&")
            && said.contains("before\n")
            && said.contains("#2 ERROR:"),
        "{said}"
    );
    assert!(!said.contains("never"));
    world.is_tidy();
}

#[test]
fn of_stages_that_fail_together_the_cause_is_told() {
    let world = World::new("together");
    let source = "FROM base AS a\nRUN exit 7\nFROM a AS b\nRUN true\nFROM a AS c\nRUN true\nFROM base\nCOPY --from=b /x /\nCOPY --from=c /x /\n";
    for _ in 0..20 {
        let error = world.try_build(source).unwrap_err();
        assert_eq!((error.code, error.place.unwrap().1.line), (Some(7), 2), "{}", error.message);
    }
    world.is_tidy();
}

#[test]
fn mounts_are_there_and_leave_nothing() {
    let world = World::new("mounts");
    world.file("src/f", "context");
    world.file("src/secret.key", "left out");
    fs::write(world.path.join("token"), "s3cret").unwrap();
    let mut request = world.request(
        "FROM base AS tools\nRUN mkdir -p /opt/t && echo tool > /opt/t/x\nFROM base\n\
         RUN --mount=target=/c,source=src --mount=from=tools,source=/opt/t,target=/t --mount=type=tmpfs,target=/fast \
         --mount=type=secret,id=token,mode=0440,uid=33 --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=absent \
         cat /c/f /t/x /run/secrets/token > /seen; ls /c >> /seen; stat -c '%a %u' /run/secrets/token >> /seen; \
         echo $TOKEN >> /seen; ls /run/secrets >> /seen; touch /fast/x; touch /c/new && echo written >> /seen; true\n\
         RUN --mount=target=/c,rw --mount=from=tools,target=/t,rw touch /c/new /t/new && ls /c > /rw\n",
    );
    request.ignore = build::Ignore::parse("**/*.key").unwrap();
    request.secrets.insert("token".into(), Secret::File(world.path.join("token")));
    let built = world.with(&request).unwrap_or_else(|error| panic!("{error}"));
    let tree = world.tree(&built);
    assert_eq!(tree["seen"], "644 0:0 = contexttool\ns3cretf\n440 33\ns3cret\ntoken");
    assert_eq!(tree["rw"], "644 0:0 = new\nsrc");
    for stub in ["c", "t", "fast", "run"] {
        assert!(!tree.contains_key(stub), "{stub} stays: {tree:?}");
    }
    assert!(!world.context().join("new").exists());
    assert!(!String::from_utf8_lossy(&built.config).contains("s3cret"));
    request.source = "FROM base\nRUN --mount=type=secret,id=other,required true\n".into();
    let error = world.with(&request).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("--secret id=other,src=FILE"));
    // A secret is in no key.
    request.source = "FROM base\nRUN --mount=type=secret,id=token true\n".into();
    world.with(&request).unwrap();
    request.secrets.insert("token".into(), Secret::Value("another".into()));
    assert_eq!(world.with(&request).unwrap().cached, (1, 1));
    world.is_tidy();
}

#[test]
fn cache_mounts_stay_from_build_to_build() {
    let world = World::new("caches");
    let source = |number: u32, sharing: &str| {
        format!(
            "FROM base\nRUN --mount=type=cache,target=/c,sharing={sharing} echo {number} >> /c/log && cat /c/log > /log\n"
        )
    };
    assert_eq!(world.read(&world.build(&source(1, "shared")), "log"), "1");
    assert_eq!(world.read(&world.build(&source(2, "locked")), "log"), "1\n2");
    // Three stages of one lock, one after the other.
    let locked: String = (3..6)
        .map(|n| format!("FROM base AS s{n}\nRUN --mount=type=cache,id=l,target=/c,sharing=locked test ! -e /c/busy && touch /c/busy && sleep 0.1 && rm /c/busy && touch /{n}\n"))
        .collect();
    let built = world.build(&format!(
        "{locked}FROM base\nCOPY --from=s3 /3 /\nCOPY --from=s4 /4 /\nCOPY --from=s5 /5 /\n"
    ));
    assert!(world.tree(&built).contains_key("5"));
    let built = world.build("FROM base\nRUN --mount=type=cache,target=/p,from=base,source=/etc,uid=33,mode=0700 ls /p > /l && stat -c '%a %u' /p >> /l\n");
    assert_eq!(world.tree(&built)["l"], "644 0:0 = group\npasswd\n700 33");
    world.is_tidy();
}

#[test]
fn independent_stages_run_beside_each_other() {
    let world = World::new("parallel");
    // Each waits for the other by way of a shared cache: one after the other they would never end.
    let stage = |own: &str, other: &str| {
        format!(
            "FROM base AS {own}\nRUN --mount=type=cache,id=meet,target=/m touch /m/{own} && for i in $(busybox seq 1000); do test -e /m/{other} && exit 0; sleep 0.01; done; exit 1\n"
        )
    };
    let source = format!(
        "{}{}FROM base\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n",
        stage("a", "b"),
        stage("b", "a")
    );
    let mut request = world.request(&source);
    request.jobs = 2;
    world.with(&request).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(world.together.load(Ordering::SeqCst), 2);
    // What nobody needs is not built.
    let before = world.count();
    request.source = "FROM base AS unused\nRUN exit 1\nFROM base\nRUN true\n".into();
    world.with(&request).unwrap();
    assert_eq!(world.count(), before + 1);
    // With one job nothing is stuck.
    request.jobs = 1;
    request.no_cache = true;
    request.source = "FROM base AS a\nRUN touch /a\nFROM base AS b\nRUN touch /b\nFROM a\nCOPY --from=b /b /\nRUN test -e /a -a -e /b\n".into();
    world.together.store(0, Ordering::SeqCst);
    world.with(&request).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(world.together.load(Ordering::SeqCst), 1);
}

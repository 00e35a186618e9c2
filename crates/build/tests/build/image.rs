//! What an image says of itself, and that the same input gives the same image.

use crate::world::World;
use serde_json::json;
use std::fs;
use std::process::Command;

#[test]
fn a_configuration_has_all_that_docker_has() {
    let world = World::new("config");
    let built = world.build(
        "FROM base\nMAINTAINER me\nLABEL a=\"b c\" d=e\nENV X=\"1 2\" Y=$BASE\nEXPOSE 80 53/UDP 8000-8001\nVOLUME /v [\"/w\"]\n\
         VOLUME [\"/x y\"]\nUSER web\nWORKDIR /srv\nWORKDIR data\nSHELL [\"/bin/sh\",\"-x\",\"-c\"]\nENTRYPOINT run\nCMD [\"a\",\"b\"]\n\
         STOPSIGNAL SIGQUIT\nHEALTHCHECK --interval=5s --retries=2 CMD true\nONBUILD COPY . /app\nONBUILD RUN make\n",
    );
    let config = world.config(&built);
    assert_eq!(
        config["config"],
        json!({
            "User": "web",
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}},
            "Env": ["PATH=/bin", "BASE=1", "X=1 2", "Y=1"],
            "Entrypoint": ["/bin/sh", "-x", "-c", "run"],
            "Cmd": ["a", "b"],
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_u64, "Retries": 2},
            "Volumes": {"/v": {}, "[/w]": {}, "/x y": {}},
            "WorkingDir": "/srv/data",
            "Labels": {"a": "b c", "d": "e"},
            "OnBuild": ["COPY . /app", "RUN make"],
            "StopSignal": "SIGQUIT",
            "Shell": ["/bin/sh", "-x", "-c"],
        })
    );
    assert_eq!((config["author"].as_str(), config["os"].as_str()), (Some("me"), Some("linux")));
    let manifest: serde_json::Value = serde_json::from_slice(&built.manifest).unwrap();
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(manifest["config"]["digest"], built.config_digest.to_string());
    let blobs = storage::blobs::Blobs::open(&world.root()).unwrap();
    assert_eq!(blobs.has(&built.manifest_digest), Some(built.manifest.len() as u64));
    for layer in &built.layers {
        assert_eq!(blobs.has(&layer.digest), Some(layer.size));
    }
    // An ENTRYPOINT takes the base's CMD away; one of its own stays, whichever comes first.
    assert_eq!(world.config(&world.build("FROM base\nENTRYPOINT x\n"))["config"]["Cmd"], json!(null));
    assert_eq!(
        world.config(&world.build("FROM base\nCMD y\nENTRYPOINT x\n"))["config"]["Cmd"],
        json!(["/bin/sh", "-c", "y"])
    );
    let scratch = world.config(&world.build("FROM scratch\nLABEL a=b\n"));
    assert_eq!(
        scratch["config"]["Env"],
        json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
    );
    for wrong in ["EXPOSE 0", "EXPOSE 80/tpc", "EXPOSE 9-8", "USER $NONE", "WORKDIR $NONE"] {
        assert!(world.try_build(&format!("FROM base\n{wrong}\n")).is_err(), "{wrong}");
    }
}

#[test]
fn triggers_of_a_base_are_done_first() {
    let world = World::new("triggers");
    world.file("f", "F");
    let tree = world.path.join("t");
    fs::create_dir(&tree).unwrap();
    world.add_image(
        "trigger",
        &[tree],
        r#"{"OnBuild":["ARG X=1","COPY . /app/","ENV T=$X"],"Env":["T=0","PATH=/bin"]}"#,
    );
    let built = world.build("FROM trigger\nENV U=$T\n");
    assert_eq!(world.tree(&built)["app/f"], "644 0:0 = F");
    let config = world.config(&built);
    assert_eq!(
        (&config["config"]["Env"], &config["config"]["OnBuild"]),
        (&json!(["T=1", "PATH=/bin", "U=1"]), &json!(null))
    );
    let tree = world.path.join("u");
    fs::create_dir(&tree).unwrap();
    world.add_image("broken", &[tree], r#"{"OnBuild":["COPY none /app/"]}"#);
    let error = world.try_build("FROM broken\n").unwrap_err();
    assert!(error.to_string().starts_with("ONBUILD of broken:1: "), "{error}");
}

#[test]
fn the_same_input_gives_the_same_image() {
    let source = "FROM base AS a\nRUN echo x > /x && mkdir /m\nFROM base\nWORKDIR /w/v\nCOPY . /n/\nCOPY --from=a /x /m /o/\nRUN touch /y && rm /etc/group\nADD a.tar /z/\n";
    let build = |name: &str, date: &str| {
        let world = World::new(name);
        for number in 0..5 {
            let path = world.file(&format!("d/{number}"), "content");
            Command::new("touch").args(["-d", date]).arg(path).status().unwrap();
        }
        let tree = world.path.join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("f"), "F").unwrap();
        let settings = storage::layer::Settings {
            compression: build::Compression::None,
            latest: Some(1_000_000_000),
            ..Default::default()
        };
        storage::layer::archive(
            fs::File::open(&tree).unwrap(),
            fs::File::create(world.context().join("a.tar")).unwrap(),
            &settings,
        )
        .unwrap();
        let mut request = world.request(source);
        request.epoch = Some(1_500_000_000);
        let built = world.with(&request).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(built.cached.0, 0);
        (built.manifest_digest, world.config(&built))
    };
    let (one, two) = (build("one", "2020-01-01"), build("two", "2024-05-05"));
    assert_eq!(one.1, two.1);
    assert_eq!(one.0, two.0);
    assert_eq!(one.1["created"], "2017-07-14T02:40:00Z");
}

#[test]
fn a_squashed_image_is_the_same_tree_in_one_layer() {
    let world = World::new("squash");
    world.file("f", "F");
    let source = "FROM base\nRUN mkdir /d && echo a > /d/a && echo b > /d/b\nRUN rm /d/a && rm -r /srv/data && mkdir /srv/data && rm /etc/group\nCOPY f /d/\nRUN rm -r /d && mkdir /d && ln /etc/passwd /d/p\n";
    let plain = world.build(source);
    let mut request = world.request(source);
    request.squash = true;
    request.labels.insert("l".into(), "1".into());
    let squashed = world.with(&request).unwrap();
    assert_eq!((plain.layers.len(), squashed.layers.len()), (5, 2));
    assert_eq!(world.tree(&plain), world.tree(&squashed));
    let config = world.config(&squashed);
    let layers =
        config["history"].as_array().unwrap().iter().filter(|entry| entry["empty_layer"] != true).count();
    assert_eq!((layers, config["config"]["Labels"]["l"].as_str()), (2, Some("1")));
    // Unpacked from its blob it is the same too.
    let all = storage::layers::Layers::open(&world.root(), false).unwrap();
    let blobs = storage::blobs::Blobs::open(&world.root()).unwrap();
    let layer = &squashed.layers[1];
    let before = world.tree(&squashed);
    all.remove(&layer.diff_id).unwrap();
    let blob = blobs.get(&layer.digest).unwrap().unwrap();
    let storage::layers::Extraction::Done(done) =
        all.extract(&layer.diff_id, blob.file, &Default::default()).unwrap()
    else {
        panic!()
    };
    storage::layers::publish(vec![*done]).unwrap();
    assert_eq!(world.tree(&squashed), before);
}

#[test]
fn ignore_files_are_found() {
    let world = World::new("ignore");
    world.file(".dockerignore", "*.o\n.dockerignore");
    world.file("a.o", "");
    world.file("b.c", "B");
    let mut request = world.request("FROM base\nCOPY . /n\n");
    request.ignore = build::ignore_file(&world.context(), None).unwrap();
    assert_eq!(world.below(&world.with(&request).unwrap(), "n"), ["n/b.c 644 0:0 = B"]);
    let own = world.file("x.Dockerfile", "");
    world.file("x.Dockerfile.dockerignore", "b.c\nx*\n.*");
    request.ignore = build::ignore_file(&world.context(), Some(&own)).unwrap();
    assert_eq!(world.below(&world.with(&request).unwrap(), "n"), ["n/a.o 644 0:0 = "]);
    world.file(".dockerignore", "a\n[");
    let error = build::ignore_file(&world.context(), None).unwrap_err();
    assert!(error.message.contains(".dockerignore:2: "), "{error}");
}

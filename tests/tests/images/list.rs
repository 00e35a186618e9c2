//! What is told of images: `images`, `history`, `image inspect`.

use minidocker_tests::World;
use minidocker_tests::registry::{Image, Put, Registry, Tar};
use serde_json::json;

/// Three images: app:1 of 2024, app:2 of 2025 with a label, team/tool:1 of 2023.
fn three(world: &World, registry: &Registry<'_>) -> [Put; 3] {
    let image = |text: &str, created: &str| {
        let base = Tar::new().file("base", "x".repeat(100_000));
        let image = Image::new(json!({"Cmd": ["/x"], "Env": ["A=b"]})).layer(base);
        image.layer(Tar::new().file("own", text)).with("created", json!(created))
    };
    let made = [
        ("app:1", image("1", "2024-05-06T07:08:09Z")),
        ("app:2", image("2", "2025-01-02T03:04:05.678Z").set("Labels", json!({"tier": "gold"}))),
        ("team/tool:1", image("3", "2023-01-01T00:00:00Z")),
    ];
    made.map(|(name, image)| {
        let put = registry.put(name, &image);
        world.images(["pull", "-q", &registry.name(name)]).run().ok();
        put
    })
}

#[test]
fn images_has_dockers_columns() {
    let world = World::new();
    let registry = Registry::new(&world);
    let empty = world.images(["images"]).run().ok().out();
    assert_eq!(
        empty.split_whitespace().collect::<Vec<_>>().join(" "),
        "REPOSITORY TAG IMAGE ID CREATED SIZE"
    );
    let [first, second, third] = three(&world, &registry);
    let said = world.images(["images"]).run().ok().out();
    let rows: Vec<Vec<&str>> = said.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    // The newest first.
    let of = |row: &[&str]| row[..3].join(" ");
    assert_eq!(of(&rows[0]), format!("{} 2 {}", registry.name("app"), second.short_id()));
    assert_eq!(of(&rows[1]), format!("{} 1 {}", registry.name("app"), first.short_id()));
    assert_eq!(of(&rows[2]), format!("{} 1 {}", registry.name("team/tool"), third.short_id()));
    assert!(rows[0].ends_with(&["ago", rows[0].last().unwrap()]), "{said}");
    assert!(rows.iter().all(|row| row.last().unwrap().ends_with("kB")), "{said}");
    assert_eq!(world.images(["image", "ls"]).run().ok().out(), said);

    let quiet = world.images(["images", "-q"]).run().text();
    assert_eq!(quiet, [&second, &first, &third].map(Put::short_id).join("\n"));
    let full = world.images(["images", "--no-trunc", "-q"]).run().text();
    assert_eq!(full, [&*second.id, &first.id, &third.id].join("\n"));
    let digests = world.images(["images", "--digests", "--format", "{{.Tag}} {{.Digest}}"]).run().text();
    assert!(digests.contains(&format!("2 {}", second.manifest)), "{digests}");
    let table = world.images(["images", "--digests"]).run().ok().out();
    assert!(table.contains("DIGEST") && table.contains(&second.manifest), "{table}");
}

#[test]
fn filters_and_formats() {
    let world = World::new();
    let registry = Registry::new(&world);
    let [first, second, third] = three(&world, &registry);
    let all = [(&first, "1"), (&second, "2"), (&third, "3")].map(|(put, name)| (put.short_id(), name));
    let chosen = |words: &[&str]| -> String {
        let said = world.images([&["images", "-q"], words].concat()).run().text();
        let name = |id: &str| all.iter().find(|(known, _)| known == id).map_or("?", |(_, name)| name);
        said.lines().map(name).collect()
    };
    let app = registry.name("app:1");
    for (words, expected) in [
        (vec!["--filter", "label=tier"], "2"),
        (vec!["-f", "label=tier=gold"], "2"),
        (vec!["-f", "label=tier=silver"], ""),
        (vec!["-f", &format!("before={app}")], "3"),
        (vec!["-f", &format!("since={app}")], "2"),
        (vec!["-f", "until=2024-06-01"], "13"),
        (vec!["-f", "reference=*/app"], "21"),
        (vec!["-f", "reference=*/app:1"], "1"),
        (vec!["-f", "reference=*/*/tool"], "3"),
        (vec![&*registry.name("app")], "21"),
        (vec![&*registry.name("app:2")], "2"),
        (vec!["-f", "dangling=true"], ""),
        (vec!["-f", "dangling=false", "-f", "label=tier"], "2"),
    ] {
        assert_eq!(chosen(&words), expected, "{words:?}");
    }
    for wrong in ["colour=red", "dangling=perhaps", "before=none"] {
        world.images(["images", "--filter", wrong]).run().refuses(1, &["--filter"]);
    }
    let format = "{{.Repository}}|{{.Tag}}|{{.Platform}}|{{.Containers}}|{{.CreatedAt}}";
    let said = world.images(["images", "--format", format, &app]).run().text();
    let machine = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    let words = format!("{}|1|{machine}|0|2024-05-06 07:08:09", registry.name("app"));
    assert!(said.starts_with(&words), "{said}");
    let value = world.images(["images", "--format", "json", &app]).run().json();
    assert_eq!((&value["Tag"], &value["ID"]), (&json!("1"), &json!(first.short_id())));
    world.images(["images", "--format", "{{.None}}"]).run().refuses(1, &["None"]);
}

#[test]
fn history_tells_each_step() {
    let world = World::new();
    let registry = Registry::new(&world);
    let step = |by: &str, empty: bool| json!({"created": "2024-01-01T00:00:00Z", "created_by": by, "empty_layer": empty, "comment": "c"});
    let history =
        json!([step("ADD base", false), step("ENV A=b", true), step("RUN something\n\tlong", false)]);
    let image = Image::new(json!({"Cmd": ["/x"]}))
        .layer(Tar::new().file("base", "x".repeat(50_000)))
        .layer(Tar::new().file("own", "y"))
        .with("history", history);
    let put = registry.put("app:1", &image);
    let name = registry.name("app:1");
    world.images(["pull", "-q", &name]).run().ok();
    let said =
        world.images(["history", "--format", "{{.ID}}|{{.CreatedBy}}|{{.Comment}}", &name]).run().text();
    let rows: Vec<String> = said.lines().map(str::to_owned).collect();
    assert_eq!(
        rows,
        [
            format!("{}|RUN something long|c", put.short_id()),
            "<missing>|ENV A=b|c".into(),
            "<missing>|ADD base|c".into()
        ]
    );
    let sizes = world.images(["history", "-H=false", "--format", "{{.Size}}", &name]).run().text();
    let sizes: Vec<u64> = sizes.lines().map(|line| line.parse().unwrap()).collect();
    assert!(sizes[2] >= 50_000 && sizes[1] == 0 && sizes[0] > 0 && sizes[0] < 50_000, "{sizes:?}");
    assert_eq!(
        world.images(["history", "-q", "--no-trunc", &name]).run().text().lines().next(),
        Some(&*put.id)
    );
    world.images(["history", "none"]).run().refuses(1, &["no such image: none"]);
}

#[test]
fn inspect_has_dockers_fields() {
    let world = World::new();
    let registry = Registry::new(&world);
    let [first, second, _] = three(&world, &registry);
    let name = registry.name("app:1");
    world.images(["tag", &name, "own:x"]).run().ok();
    let all = world.images(["image", "inspect", &name, &second.id]).run().json();
    let one = &all[0];
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    assert_eq!(all[1]["Config"]["Labels"], json!({"tier": "gold"}));
    assert_eq!(one["Id"], first.id.as_str());
    assert_eq!(one["RepoTags"], json!([name, "own:x"]));
    assert_eq!(one["RepoDigests"], json!([format!("{}@{}", registry.name("app"), first.manifest)]));
    assert_eq!(one["Created"], "2024-05-06T07:08:09Z");
    assert_eq!(one["Config"], json!({"Cmd": ["/x"], "Env": ["A=b"]}));
    assert_eq!(one["Os"], "linux");
    let layers: Vec<&str> = first.layers.iter().map(|layer| &*layer.diff_id).collect();
    assert_eq!(one["RootFS"], json!({"Type": "layers", "Layers": layers}));
    assert_eq!(one["Descriptor"]["digest"], first.manifest.as_str());
    assert!(one["Size"].as_u64().unwrap() >= 100_000, "{one}");
    let upper = one["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap();
    assert_eq!(std::fs::read(std::path::Path::new(upper).join("own")).unwrap(), b"1");

    let said = world.images(["image", "inspect", "-f", "{{json .Config.Env}} {{.Os}}", &name]).run();
    said.prints("[\"A=b\"] linux\n");
    let said = world.images(["image", "inspect", "none", &name]).run().exits(1);
    assert!(said.err().starts_with("error: no such image: none\n"), "{said:?}");
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&said.stdout).unwrap()[0]["Id"],
        first.id.as_str()
    );
}

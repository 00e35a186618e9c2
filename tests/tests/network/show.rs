//! `network show`: what is drawn is what the kernel has, whatever our own files say.

use minidocker_tests::World;
use serde_json::Value;

use super::{address_of, ip, remove, serve};

fn survey(world: &World) -> Value {
    world.minidocker(["network", "show", "--format", "json"]).json()
}

fn space<'s>(survey: &'s Value, container: &str) -> &'s Value {
    let has = |space: &&Value| {
        space["containers"].as_array().expect("containers").iter().any(|one| one["name"] == container)
    };
    survey["namespaces"].as_array().expect("namespaces").iter().find(has).expect("its namespace")
}

fn link<'s>(space: &'s Value, name: &str) -> &'s Value {
    let all = space["links"].as_array().expect("links");
    all.iter().find(|link| link["name"] == name).unwrap_or_else(|| panic!("no {name} in {space}"))
}

#[test]
fn the_picture_is_the_kernels() {
    let world = World::new();
    let root = world.rootfs_inside();
    let options =
        ["-p", "8080-8089:80-89", "-p", "127.0.0.1:53:53/udp", "--network-rate", "in=10mbit,out=2mbit"];
    let web = serve(&world, &root, "web", &options);
    let alone = root.overlay();
    world.detached(["--name", "alone", "--network", "none", "--rootfs", &alone, "/inside", "pause"]);
    world.detached([
        "--name",
        "beside",
        "--network",
        "container:web",
        "--rootfs",
        &root.overlay(),
        "/inside",
        "pause",
    ]);
    let host_link = format!("md{}", &web[..11]);
    let all = survey(&world);
    let host = &all["namespaces"][0];
    assert_eq!(host["host"], true);
    // The bridge, its port and the cable's other end, as ip(8) has them.
    let bridge = link(host, world.bridge());
    assert_eq!(bridge["kind"], "bridge");
    let shown = ip(&world, &["-o", "-4", "addr", "show", "dev", world.bridge()]);
    assert!(shown.contains(bridge["addresses"][0].as_str().expect("an address")), "{shown}");
    let port = link(host, &host_link);
    assert_eq!((&port["master"], &port["rate"]), (&bridge["index"], &Value::from("10mbit")));
    let own = space(&all, "web");
    assert_eq!(own["inode"], space(&all, "beside")["inode"]);
    let eth0 = link(own, "eth0");
    assert_eq!(
        (&eth0["rate"], &eth0["lower"], &port["lower"]),
        (&Value::from("2mbit"), &port["index"], &eth0["index"])
    );
    assert!(
        eth0["addresses"][0].as_str().expect("text").starts_with(&format!("{}/", address_of(&world, &web)))
    );
    let lonely = space(&all, "alone")["links"].as_array().expect("links");
    assert!(lonely.iter().all(|link| link["up"] == false || link["name"] == "lo"), "{lonely:?}");
    assert_eq!(all["ports"].as_array().expect("ports").len(), 11);
    // What somebody changes behind our back is seen: an address, a rate, the rules.
    ip(&world, &["addr", "add", "10.123.0.1/24", "dev", world.bridge()]);
    world.program(["tc", "qdisc", "del", "dev", &host_link, "root"]).run().ok();
    let all = survey(&world);
    assert_eq!(link(&all["namespaces"][0], world.bridge())["addresses"][1], "10.123.0.1/24");
    assert_eq!(link(&all["namespaces"][0], &host_link)["rate"], Value::Null);
    let table = all["rules"]["table"].as_str().expect("a table").to_owned();
    world.program(["sh", "-c", &format!("nft delete table {table}")]).run().ok();
    let all = survey(&world);
    assert_eq!((&all["rules"], all["ports"].as_array().map(Vec::len)), (&Value::Null, Some(0)));
    let text = world.minidocker(["network", "show"]).text();
    assert!(text.contains("no table of rules: minidocker system check --repair"), "{text}");
    remove(&world, &["web", "alone", "beside"]);
}

#[test]
fn text_fits_and_files_are_whole() {
    let world = World::new();
    let root = world.rootfs_inside();
    serve(&world, &root, "first", &["-p", "8080:80"]);
    serve(&world, &root, "second", &["--ip", "10.0.0.7"]);
    let text = world.minidocker(["network", "show"]).ok().out();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for part in
        ["host", world.bridge(), "first", "second", "10.0.0.7/24", "*:8080 → 80/tcp", "via 10.0.0.254"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    // Each bridge's line ends at its last cable.
    assert_eq!((text.matches('┏').count(), text.matches('┖').count()), (2, 2), "{text}");
    let [svg, html] =
        ["picture.svg", "page.html"].map(|name| world.directory().join(name).display().to_string());
    world.minidocker(["network", "show", "--svg", &svg, "--html", &html]).prints("");
    let [svg, html] = [svg, html].map(|path| std::fs::read_to_string(path).expect("a file"));
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && svg.ends_with("</svg>\n"));
    assert!(html.starts_with("<!doctype html>") && html.contains("<svg class=\"net\""));
    for part in ["first", "second", "*:8080 → 80/tcp"] {
        assert!(svg.contains(part) && html.contains(part), "{part}");
    }
    world.minidocker(["network", "show", "--format", "xml"]).refuses(1, &["xml"]);
    world.minidocker(["network", "show", "--svg", "/nowhere/x.svg"]).refuses(1, &["/nowhere/x.svg"]);
    remove(&world, &["first", "second"]);
}

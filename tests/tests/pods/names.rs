//! Names: of the pod and of its containers, from other containers of its networks and from within.

use super::Ground;

impl Ground {
    /// The addresses that a name has for a container.
    fn asked(&self, by: &str, name: &str) -> Vec<String> {
        let said = self.world.minidocker(["exec", by, "nslookup", name]).out();
        let answer = said.split_once("Name:").map_or("", |(_, answer)| answer).to_owned();
        answer.lines().filter_map(|line| line.strip_prefix("Address: ")).map(str::to_owned).collect()
    }
}

#[test]
fn the_pods_name_and_those_of_its_containers_lead_to_the_pod() {
    let ground = Ground::new();
    ground.world.minidocker(["network", "create", "back"]).ok();
    ground.create(&["--network", "back", "--network-alias", "front", "web"]);
    ground.idle("one");
    ground.world.detached(ground.words(&["--network", "back", "--name", "near"], &["sleep", "1000"]));
    let pod = ground.inspect("web");
    assert_eq!(pod["InfraConfig"]["Networks"], serde_json::json!(["back"]));
    let path = "{{.NetworkSettings.Networks.back.IPAddress}}";
    let address = [ground.world.minidocker(["inspect", "-f", path, "web"]).text()];
    for asker in ["near", "one"] {
        for name in ["web", "front", "one", "web.back", "one.back"] {
            assert_eq!(ground.asked(asker, name), address, "{name} for {asker}");
        }
    }
    assert_eq!(ground.asked("one", "near").len(), 1, "and the other way round");
    // Who comes is known, who goes is not, who is renamed by the new name alone.
    ground.idle("two");
    assert_eq!(ground.asked("near", "two"), address);
    ground.world.minidocker(["rename", "two", "deux"]).ok();
    assert_eq!((ground.asked("near", "two").len(), ground.asked("near", "deux")), (0, address.to_vec()));
    ground.world.minidocker(["rm", "-f", "deux"]).ok();
    assert_eq!(ground.asked("near", "deux"), [""; 0]);
    // One that is made and not started is a name too: the address is there.
    let words = ground.words(&["--pod", "web", "--name", "later"], &["true"]);
    ground.world.minidocker(["create".to_owned()].into_iter().chain(words)).ok();
    assert_eq!(ground.asked("near", "later"), address);
    assert_eq!(ground.asked("near", "one"), address);
    // A further network knows them as well, and after a restart all are there again.
    ground.world.minidocker(["network", "connect", "bridge", "web"]).ok();
    ground.world.detached(ground.words(&["--name", "far"], &["sleep", "1000"]));
    assert_eq!(ground.asked("far", "one").len(), 1);
    ground.pod(&["restart", "web"]).ok();
    assert_eq!((ground.asked("near", "one").len(), ground.asked("far", "one").len()), (1, 1));
    ground.pod(&["rm", "-f", "web"]).ok();
    assert_eq!((ground.asked("near", "web").len(), ground.asked("near", "one").len()), (0, 0));
    ground.world.minidocker(["rm", "-f", "near", "far"]).ok();
    ground.world.minidocker(["network", "rm", "back"]).ok();
}

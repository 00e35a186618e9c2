//! `docker build`: its steps run by the default runtime.

use super::{Docker, IMAGE};

#[test]
fn the_steps_of_a_build_run_and_fail_as_they_should() {
    let docker = Docker::new();
    let context = docker.host.path("context");
    std::fs::create_dir(&context).expect("our own directory");
    docker.host.file("context/file", "from the context");
    let text = format!(
        "FROM {IMAGE}\nENV A=b\nWORKDIR /work\nCOPY file .\nRUN cat file > copy && echo $A > variable\nUSER user\n\
         CMD [\"sh\", \"-c\", \"cat copy variable; id -u\"]\n"
    );
    docker.host.file("context/Dockerfile", &text);
    // Without BuildKit, which brings an executor of its own along.
    let build = |tag: &str| docker.call(["build", "-t", tag, &context]).env("DOCKER_BUILDKIT", "0").run();
    build("built").ok();
    docker.run(&["built"]).prints("from the contextb\n1000\n");
    docker.host.file("context/Dockerfile", format!("FROM {IMAGE}\nRUN exit 9\n"));
    let output = build("broken").exits(9);
    assert!(output.err().contains("returned a non-zero code: 9"), "{output:?}");
}

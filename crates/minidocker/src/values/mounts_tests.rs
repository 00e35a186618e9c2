//! What `-v`, `--mount` and `--tmpfs` mean, and what they refuse.

use engine::request::{VolumeMount, VolumesFrom};

use super::super::volumes::{driver, volumes_from};
use super::*;

fn bind(source: &str, target: &str) -> Mount {
    Mount::Bind {
        source: source.into(),
        target: target.into(),
        read_only: false,
        recursive_read_only: false,
        propagation: None,
        create_source: true,
        options: vec![],
        idmap: false,
        shallow: false,
    }
}

fn here() -> &'static Path {
    Path::new("/here")
}

#[test]
fn reads_volumes() {
    assert_eq!(volume("/a:/b", here()), Ok(bind("/a", "/b")));
    assert_eq!(volume("./x:/b", here()), Ok(bind("/here/x", "/b")));
    assert_eq!(volume(".:/b/", here()), Ok(bind("/here", "/b")));
    assert_eq!(volume("../x/./y:/b/../c", here()), Ok(bind("/x/y", "/c")));
    let Ok(Mount::Bind { read_only, recursive_read_only, propagation, options, .. }) =
        volume("/a:/b:ro,z,rshared,nosuid", here())
    else {
        panic!("refused")
    };
    assert!(read_only && !recursive_read_only);
    assert_eq!(propagation.as_deref(), Some("rshared"));
    assert_eq!(options, ["z", "nosuid"]);
    let Ok(Mount::Bind { read_only: true, recursive_read_only: true, .. }) = volume("/a:/b:rro", here())
    else {
        panic!("rro is recursive")
    };
}

#[test]
fn refuses_volumes_that_say_too_little_or_too_much() {
    let cases = [
        ("", "the target '' is not absolute; write it as /data"),
        ("data", "the target data is not absolute; write it as /data"),
        ("/", "the target cannot be /, which is --rootfs; write it as /data"),
        (
            "a/b:/data",
            "a/b cannot be a volume's name; a name starts with a letter or digit, at least one of a-z A-Z 0-9 _ . - follows; a directory of the host is written as /data or ./data",
        ),
        ("data:/b:rshared", "rshared belongs to directories of the host, this is a volume"),
        ("data:/b:bogus", "unknown option bogus; write it as ro, nocopy or nosuid"),
        ("data:/b:ro,rw", "both read-only and rw"),
        (":/b", "no source; write it as ./data:/data:ro, or data:/data for a volume"),
        ("/a:", "the target '' is not absolute; write it as /data"),
        ("/a:b", "the target b is not absolute; write it as /data"),
        ("/a:/", "the target cannot be /, which is --rootfs; write it as /data"),
        ("/a:/b/..", "the target cannot be /, which is --rootfs; write it as /data"),
        (
            "/a:/b:ro:rw",
            "more than SOURCE:TARGET:OPTIONS; write it as ./data:/data:ro, or data:/data for a volume",
        ),
        ("/a:/b:bogus", "unknown option bogus; write it as ro, rro, rshared, idmap or nosuid"),
        ("/a:/b:", "an empty option; write it as ./data:/data:ro"),
        ("/a:/b:ro,rw", "both read-only and rw"),
        ("/a:/b:shared,slave", "two propagations, the second is slave"),
        ("/a:/b:rro,rshared", "rro holds only with rprivate: mounts that come in later would be writable"),
        ("/a:/b:nocopy", "nocopy belongs to volumes, this is a directory of the host"),
    ];
    for (text, reason) in cases {
        assert_eq!(volume(text, here()), Err(reason.to_owned()), "{text}");
    }
    assert!(volume("~/x:/b", here()).unwrap_err().contains("no shell expanded the ~"));
}

#[test]
fn reads_mounts() {
    let Ok(Mount::Bind { source, target, read_only, create_source, propagation, .. }) =
        mount("type=bind,source=./a,target=/b,readonly,bind-propagation=rslave", here())
    else {
        panic!("refused")
    };
    assert_eq!((source.as_path(), target.as_path()), (Path::new("/here/a"), Path::new("/b")));
    assert!(read_only && !create_source);
    assert_eq!(propagation.as_deref(), Some("rslave"));
    let Ok(Mount::Bind { read_only: false, .. }) = mount("type=bind,src=/a,dst=/b,ro=false", here()) else {
        panic!("ro=false is writable")
    };
    assert_eq!(
        mount("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1770,ro", here()),
        Ok(Mount::Tmpfs {
            target: "/t".into(),
            options: vec!["size=1048576".into(), "mode=1770".into(), "ro".into()]
        })
    );
    let Ok(Mount::Bind { source, .. }) = mount(r#"type=bind,"src=/a,b",dst=/c"#, here()) else {
        panic!("quotes keep a comma")
    };
    assert_eq!(source, Path::new("/a,b"));
}

#[test]
fn refuses_mounts_that_contradict_themselves() {
    let cases = [
        ("", "an empty field"),
        ("src=/a,dst=/b", "/a cannot be a volume's name"),
        ("dst=/b,volume-subpath=x", "a volume without a name is new and has no subpath"),
        ("src=ab,dst=/b,volume-subpath=../x", "the subpath ../x is not within the volume"),
        ("src=ab,dst=/b,volume-subpath=/x", "the subpath /x is not within the volume"),
        ("src=ab,dst=/b,volume-opt=size=1", "invalid option: size"),
        ("src=ab,dst=/b,volume-driver=nfs", "no such driver"),
        ("src=ab,dst=/b,bind-recursive=disabled", "bind-recursive belongs to type=bind, this is type=volume"),
        ("type=bind,src=/a,dst=/b,volume-nocopy", "volume-nocopy belongs to type=volume"),
        ("type=npipe,dst=/b", "type npipe is unknown"),
        ("type=bind,dst=/b", "no source"),
        ("type=bind,src=/a", "no target"),
        ("type=bind,src=,dst=/b", "src has no value"),
        ("type=bind,src=/a,dst=b", "the target b is not absolute"),
        ("type=bind,src=/a,dst=/", "the target cannot be /"),
        ("type=bind,src=/a,dst=/b,bogus=1", "unknown key bogus"),
        ("type=bind,src=/a,dst=/b,ro=maybe", "ro: neither true nor false"),
        ("type=bind,src=/a,dst=/b,tmpfs-size=1m", "tmpfs-size belongs to type=tmpfs, this is type=bind"),
        ("type=bind,src=/a,dst=/b,bind-propagation=odd", "no such propagation odd"),
        ("type=bind,src=/a,dst=/b,bind-recursive=readonly", "bind-recursive=readonly needs readonly too"),
        ("type=tmpfs,src=/a,dst=/b", "a tmpfs has no source"),
        (
            "type=tmpfs,dst=/b,bind-propagation=shared",
            "bind-propagation belongs to type=bind, this is type=tmpfs",
        ),
        ("type=tmpfs,dst=/b,tmpfs-size=10x", "tmpfs-size: unknown unit x"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9", "tmpfs-mode: not an octal number"),
        ("\"type=tmpfs", "a quote that is not closed"),
    ];
    for (text, start) in cases {
        let why = mount(text, here()).unwrap_err();
        assert!(why.starts_with(start), "{text}: {why}");
    }
}

#[test]
fn reads_volumes_by_name() {
    let volume_of = |mount| match mount {
        Ok(Mount::Volume(volume)) => volume,
        other => panic!("{other:?}"),
    };
    let named = VolumeMount { name: "data".into(), target: "/b".into(), ..VolumeMount::default() };
    assert_eq!(volume_of(volume("data:/b/", here())), named);
    assert_eq!(volume_of(mount("src=data,dst=/b", here())), named);
    let unnamed = VolumeMount { target: "/b".into(), ..VolumeMount::default() };
    assert_eq!(volume_of(volume("/b", here())), unnamed);
    assert_eq!(volume_of(mount("type=volume,dst=/b", here())), unnamed);
    let typed = volume_of(volume("data:/b:ro,nocopy,z", here()));
    assert!(typed.read_only && typed.no_copy && typed.options == ["z"]);
    let typed = volume_of(mount(
        r#"src=data,dst=/b,ro,volume-nocopy,volume-subpath=./a/b,volume-label=k=v,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,uid=3""#,
        here(),
    ));
    assert!(typed.read_only && typed.no_copy);
    assert_eq!((typed.subpath.as_deref(), typed.labels["k"].as_str()), (Some(Path::new("a/b")), "v"));
    assert_eq!(typed.driver_options["o"], "size=1m,uid=3");
    let Ok(Mount::Bind { idmap: true, shallow: false, .. }) = volume("/a:/b:idmap", here()) else {
        panic!("idmap")
    };
    let text = "type=bind,src=/a,dst=/b,bind-recursive=disabled,idmap";
    let Ok(Mount::Bind { idmap: true, shallow: true, .. }) = mount(text, here()) else { panic!("disabled") };
}

#[test]
fn reads_volumes_of_others() {
    let from = |container: &str, read_only| VolumesFrom { container: container.into(), read_only };
    assert_eq!(volumes_from("web"), Ok(from("web", false)));
    assert_eq!(volumes_from("web:ro,z"), Ok(from("web", true)));
    assert!(volumes_from(":ro").is_err() && volumes_from("web:bogus").is_err());
    assert!(driver("local").is_ok() && driver("nfs").is_err());
}

#[test]
fn reads_tmpfs() {
    assert_eq!(tmpfs("/t"), Ok(Mount::Tmpfs { target: "/t".into(), options: vec![] }));
    assert_eq!(
        tmpfs("/t:size=64m,mode=1777,noexec"),
        Ok(Mount::Tmpfs {
            target: "/t".into(),
            options: vec!["size=64m".into(), "mode=1777".into(), "noexec".into()]
        })
    );
    assert!(tmpfs("/t:size=50%").is_ok());
    for text in ["", "t", "/", "/t:bogus", "/t:size", "/t:size=10x", "/t:mode=rw", "/t:ro=1", "/t:/u"] {
        assert!(tmpfs(text).is_err(), "{text}");
    }
}

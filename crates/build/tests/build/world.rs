//! A world of a test's own: a store, a context, a host.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;

use build::{
    Base, Built, Error, Event, Fetched, Host, Layer, MountKind, Packed, Progress, Request, Run, Stream,
};
use oci::{Digest, Platform};
use step::Failure;
use storage::blobs::Blobs;
use storage::layer::{Kind, Settings, archive};
use storage::layers::{Extraction, Layers, publish};

/// What carries a cache: a configuration, and blobs.
pub(crate) type Carried = BTreeMap<String, (Vec<u8>, BTreeMap<Digest, Vec<u8>>)>;

/// What an address has, and since when.
pub(crate) type Download = (Vec<u8>, Option<i64>);

pub(crate) struct World {
    pub(crate) path: PathBuf,
    images: Mutex<BTreeMap<String, Base>>,
    pub(crate) downloads: Mutex<BTreeMap<String, Download>>,
    /// Images of a registry that carry caches.
    pub(crate) carried: Mutex<Carried>,
    /// Commands that ran.
    pub(crate) runs: AtomicUsize,
    /// How many ran at the same time.
    now: AtomicUsize,
    pub(crate) together: AtomicUsize,
    /// What commands wrote and what was told.
    pub(crate) said: Mutex<String>,
}

impl World {
    /// With the image `base`: busybox, some users, some links.
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("minidocker-build-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().canonicalize().unwrap().join(name);
        fs::create_dir_all(path.join("context")).unwrap();
        let world = Self {
            path,
            images: Mutex::default(),
            downloads: Mutex::default(),
            carried: Mutex::default(),
            runs: AtomicUsize::new(0),
            now: AtomicUsize::new(0),
            together: AtomicUsize::new(0),
            said: Mutex::default(),
        };
        let tree = world.path.join("base");
        for directory in ["bin", "etc", "tmp", "srv/data", "proc", "dev", "root"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::set_permissions(tree.join("srv/data"), fs::Permissions::from_mode(0o750)).unwrap();
        std::os::unix::fs::chown(tree.join("srv/data"), Some(33), Some(34)).unwrap();
        fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "echo", "touch", "mkdir", "rm", "ls", "stat", "id", "test", "pwd", "env", "ln",
            "sleep", "chmod", "mv",
        ] {
            symlink("busybox", tree.join("bin").join(applet)).unwrap();
        }
        fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
            .unwrap();
        fs::write(tree.join("etc/group"), "root:x:0:\nwww:x:34:\nadm:x:4:\n").unwrap();
        symlink("/srv/data", tree.join("link")).unwrap();
        world.add_image("base", &[tree], r#"{"Env":["PATH=/bin","BASE=1"],"Cmd":["sh"],"OnBuild":null}"#);
        world
    }

    /// Makes an image of directories, one a layer.
    pub(crate) fn add_image(&self, name: &str, trees: &[PathBuf], config: &str) {
        let layers = Layers::open(&self.root(), false).unwrap();
        let blobs = storage::blobs::Blobs::open(&self.root()).unwrap();
        let (mut all, mut ids) = (Vec::new(), Vec::new());
        for tree in trees {
            let mut bytes = Vec::new();
            let settings = Settings {
                kind: Kind::Layer { userxattr: false },
                latest: Some(1_000_000_000),
                ..Settings::default()
            };
            let archived = archive(fs::File::open(tree).unwrap(), &mut bytes, &settings).unwrap();
            blobs.put_bytes(&bytes).unwrap();
            if let Extraction::Done(done) = layers.adopt(&archived, tree).unwrap() {
                publish(vec![*done]).unwrap();
            }
            ids.push(archived.diff_id.to_string());
            all.push(Layer {
                directory: layers.path(&archived.diff_id),
                diff_id: archived.diff_id,
                media_type: "application/vnd.docker.image.rootfs.diff.tar.gzip".into(),
                digest: archived.digest,
                size: archived.size,
            });
        }
        let history: Vec<String> =
            ids.iter().map(|_| r#"{"created":"2020-01-01T00:00:00Z","created_by":"base"}"#.into()).collect();
        let config = format!(
            r#"{{"architecture":"{}","os":"linux","created":"2020-01-01T00:00:00Z","config":{config},"rootfs":{{"type":"layers","diff_ids":{ids:?}}},"history":[{}]}}"#,
            Platform::host().architecture(),
            history.join(",")
        );
        self.images.lock().unwrap().insert(name.into(), Base { config: config.into(), layers: all });
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.path.join("context")
    }

    /// Writes a file of the context.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.context().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn request(&self, source: &str) -> Request {
        Request::new(&self.root(), &self.path.join("run"), &self.context(), source)
    }

    pub(crate) fn try_build(&self, source: &str) -> Result<Built, Error> {
        self.with(&self.request(source))
    }

    pub(crate) fn with(&self, request: &Request) -> Result<Built, Error> {
        build::build(request, self, self).map(|mut built| built.remove(0))
    }

    /// An image for each platform of the request.
    pub(crate) fn all(&self, request: &Request) -> Vec<Built> {
        build::build(request, self, self).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn build(&self, source: &str) -> Built {
        self.try_build(source).unwrap_or_else(|error| panic!("{error}"))
    }

    /// All that an image has, as lines: kind, mode, owner, name, content or target.
    pub(crate) fn tree(&self, built: &Built) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        self.mounted(built, |top| walk(top, top, &mut all));
        all
    }

    /// The lines of what is below a directory of it.
    pub(crate) fn below(&self, built: &Built, directory: &str) -> Vec<String> {
        let all = self.tree(built);
        let all = all.into_iter().filter(|(name, _)| name.starts_with(&format!("{directory}/")));
        all.map(|(name, line)| format!("{name} {line}")).collect()
    }

    pub(crate) fn read(&self, built: &Built, path: &str) -> String {
        self.tree(built)[path].rsplit(' ').next().unwrap().to_owned()
    }

    /// Calls `look` with a mount of the image, in a thread whose mount namespace goes with it.
    fn mounted(&self, built: &Built, look: impl FnOnce(&Path) + Send) {
        let lower: Vec<PathBuf> = built.layers.iter().map(|layer| layer.directory.clone()).collect();
        let place = self.path.join("mounted");
        fs::create_dir_all(&place).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                private();
                overlay(&lower, None, &place);
                look(&place);
            });
        });
    }

    /// The configuration as JSON.
    pub(crate) fn config(&self, built: &Built) -> serde_json::Value {
        serde_json::from_slice(&built.config).unwrap()
    }

    pub(crate) fn count(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }

    /// Nothing is left of a build's work.
    pub(crate) fn is_tidy(&self) {
        for place in ["build/work", "layers/new", "layers/old", "ingest"] {
            let left: Vec<_> =
                fs::read_dir(self.root().join(place)).unwrap().flatten().map(|entry| entry.path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        let secrets = fs::read_dir(self.path.join("run/build")).map_or(0, Iterator::count);
        assert_eq!(secrets, 0, "secrets are left");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn private() {
    let flags = rustix::thread::UnshareFlags::NEWNS | rustix::thread::UnshareFlags::FS;
    #[allow(deprecated, reason = "the successor is unsafe for CLONE_FILES alone")]
    rustix::thread::unshare(flags).unwrap();
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
}

/// Mounts layers, the lowest first.
fn overlay(lower: &[PathBuf], upper: Option<(&Path, &Path)>, at: &Path) {
    let mut lower: Vec<String> = lower.iter().rev().map(|path| path.display().to_string()).collect();
    let empty = at.with_extension("empty");
    fs::create_dir_all(&empty).unwrap();
    if lower.len() < 2 {
        lower.push(empty.display().to_string());
    }
    let context = rustix::mount::fsopen("overlay", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for directory in lower {
        rustix::mount::fsconfig_set_string(&context, "lowerdir+", directory).unwrap();
    }
    if let Some((upper, work)) = upper {
        rustix::mount::fsconfig_set_string(&context, "upperdir", upper.to_str().unwrap()).unwrap();
        rustix::mount::fsconfig_set_string(&context, "workdir", work.to_str().unwrap()).unwrap();
    }
    rustix::mount::fsconfig_create(&context).unwrap();
    let flags = rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC;
    let mount = rustix::mount::fsmount(&context, flags, rustix::mount::MountAttrFlags::empty()).unwrap();
    let flags = rustix::mount::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&mount, c"", rustix::fs::CWD, at, flags).unwrap();
}

fn walk(top: &Path, directory: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stat = fs::symlink_metadata(&path).unwrap();
        let what = if stat.is_dir() {
            "d".to_owned()
        } else if stat.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if stat.len() < 4096 {
            format!("= {}", String::from_utf8_lossy(&fs::read(&path).unwrap()).trim_end())
        } else {
            format!("{} bytes", stat.len())
        };
        let line = format!("{:o} {}:{} {what}", stat.mode() & 0o7777, stat.uid(), stat.gid());
        all.insert(path.strip_prefix(top).unwrap().display().to_string(), line);
        if stat.is_dir() {
            walk(top, &path, all);
        }
    }
}

impl Progress for World {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Output(_, _, bytes) => String::from_utf8_lossy(bytes).into_owned(),
            event => build::line(event),
        };
        self.said.lock().unwrap().push_str(&line);
    }
}

impl Host for World {
    fn image(&self, name: &str, _: &Platform) -> Result<Base, Failure> {
        let images = self.images.lock().unwrap();
        images
            .get(name)
            .cloned()
            .ok_or_else(|| Failure::because("registry.pull", name, "there is no such image"))
    }

    fn repository(
        &self,
        repository: &build::Repository,
        _: &Path,
        _: bool,
    ) -> Result<build::Cloned, Failure> {
        Err(Failure::because("git", repository.to_string(), "is not there"))
    }

    fn fetch(&self, url: &str) -> Result<Fetched, Failure> {
        let downloads = self.downloads.lock().unwrap();
        let (bytes, modified) =
            downloads.get(url).cloned().ok_or_else(|| Failure::because("fetch", url, "404"))?;
        Ok(Fetched { body: Box::new(std::io::Cursor::new(bytes)), modified, name: None })
    }

    fn configuration(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let carried = self.carried.lock().unwrap();
        let (configuration, _) = carried.get(name).ok_or_else(|| Failure::because("pull", name, "404"))?;
        Ok(configuration.clone())
    }

    fn bring(&self, name: &str, layer: &Packed) -> Result<(), Failure> {
        let carried = self.carried.lock().unwrap();
        let blob = carried.get(name).and_then(|(_, blobs)| blobs.get(&layer.digest));
        let blob = blob.ok_or_else(|| Failure::because("pull", layer.digest.to_string(), "404"))?;
        Blobs::open(&self.root())?.put_bytes(blob)?;
        Ok(())
    }

    fn carry(&self, name: &str, configuration: &[u8], layers: &[Packed]) -> Result<(), Failure> {
        let blobs = Blobs::open(&self.root())?;
        let read = |layer: &Packed| {
            let mut bytes = Vec::new();
            blobs.get(&layer.digest).unwrap().unwrap().file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, layer.size);
            (layer.digest, bytes)
        };
        let carried = (configuration.to_vec(), layers.iter().map(read).collect());
        self.carried.lock().unwrap().insert(name.to_owned(), carried);
        Ok(())
    }

    fn run(&self, run: &Run<'_>) -> Result<i32, Failure> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.together.fetch_max(now, Ordering::SeqCst);
        // A thread of its own: its mount namespace, and all in it, ends with it.
        let code = thread::scope(|scope| scope.spawn(|| execute(run)).join().unwrap());
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(code)
    }
}

fn execute(run: &Run<'_>) -> i32 {
    private();
    let top = run.upper.with_extension("top");
    fs::create_dir_all(&top).unwrap();
    overlay(&run.lower, Some((run.upper, run.work)), &top);
    for (number, mount) in run.mounts.iter().enumerate() {
        let target = top.join(mount.target.trim_start_matches('/'));
        let is_file = matches!(&mount.kind, MountKind::Bind { source, .. } if !source.is_dir());
        if is_file {
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::OpenOptions::new().create(true).append(true).open(&target).unwrap();
        } else {
            fs::create_dir_all(&target).unwrap();
        }
        let target_text = target.to_str().unwrap();
        match &mount.kind {
            MountKind::Bind { source, read_only } => {
                mount8(&["--bind", source.to_str().unwrap(), target_text]);
                if *read_only {
                    mount8(&["-o", "remount,bind,ro", target_text]);
                }
            }
            MountKind::Tmpfs { .. } => mount8(&["-t", "tmpfs", "tmpfs", target_text]),
            MountKind::Layers { lower, path, writable } => {
                let place = run.upper.with_extension(format!("layers-{number}"));
                fs::create_dir_all(&place).unwrap();
                overlay(
                    lower,
                    writable.as_ref().map(|(upper, work)| (upper.as_path(), work.as_path())),
                    &place,
                );
                mount8(&["--bind", place.join(path.trim_start_matches('/')).to_str().unwrap(), target_text]);
            }
        }
    }
    let mut command = Command::new("/usr/sbin/chroot");
    if !run.user.is_empty() {
        command.arg(format!("--userspec={}", run.user));
    }
    let go = format!("cd {} && exec \"$@\"", run.workdir);
    command.arg(&top).args(["/bin/sh", "-c", &go, "sh"]).args(run.args).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(run.env.iter().filter_map(|pair| pair.split_once('=')));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (out, error) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    thread::scope(|scope| {
        let copy = |stream: Stream, mut from: Box<dyn Read + Send>| {
            let output = run.output;
            scope.spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = from.read(&mut buffer) {
                    output(stream, &buffer[..length]);
                }
            });
        };
        copy(Stream::Out, Box::new(out));
        copy(Stream::Error, Box::new(error));
    });
    let status = child.wait().unwrap();
    std::os::unix::process::ExitStatusExt::signal(&status)
        .map_or_else(|| status.code().unwrap(), |signal| 128 + signal)
}

fn mount8(arguments: &[&str]) {
    assert!(Command::new("/bin/mount").args(arguments).status().unwrap().success(), "{arguments:?}");
}

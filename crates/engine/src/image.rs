//! What a request's image is on disk, and what it says of how a container starts.

use std::collections::HashSet;

use images::{Bringing, Images};
use oci::Digest;
use serde::{Deserialize, Serialize};
use step::Failure;

use crate::ops::images::platform;
use crate::pods::Door;
use crate::request::{Image, RunRequest};
use crate::state::{Record, Store};
use crate::{Error, Kind, Settings, networks, volumes};

/// What a container keeps of its image: as long as its record is there, the layers stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The image's id.
    pub id: Digest,
    /// Its layers' diff ids, the lowest first.
    pub layers: Vec<Digest>,
}

/// An image that a container can be made of.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The request with what the image says where nothing was asked for.
    pub request: RunRequest,
    /// For the storage room.
    pub source: storage::Source,
    /// Of an image with a name.
    pub origin: Option<Origin>,
    /// Keeps the layers until the container's record names them. Never to be held across a fork.
    pub bringing: Option<Bringing>,
    /// Likewise the pod that it is to be in.
    pub door: Option<Door>,
}

/// Finds it. An image that is not here is an error: bringing it is `pull`'s.
pub(crate) fn resolve(settings: &Settings, request: &RunRequest) -> Result<Resolved, Error> {
    let store = Store::new(settings);
    let plain = |source| {
        let mut request = request.clone();
        volumes::complete(&store, &mut request, std::iter::empty())?;
        networks::complete(settings, &mut request)?;
        Ok(Resolved { request, source, origin: None, bringing: None, door: None })
    };
    let name = match &request.image {
        Image::Host => return plain(storage::Source::Host),
        Image::Pause => return plain(storage::Source::Layers(Vec::new())),
        Image::Directory(path) => return plain(storage::Source::Directory(path.clone())),
        Image::DirectoryOverlay(path) => return plain(storage::Source::DirectoryOverlay(path.clone())),
        Image::Named(name) => name,
    };
    let images = Images::open(&settings.root)?;
    let bringing = images.bringing()?;
    let platform = request.platform.as_deref().map(|text| platform(Some(text))).transpose()?;
    let image = images
        .find_for(name, platform.as_ref())
        .map_err(|failure| Error { kind: Kind::Invalid, ..Error::from(failure) })?
        .ok_or_else(|| absent(name))?;
    let config = images.config(&image)?;
    let layers: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
    let source = storage::Source::Layers(layers.iter().map(|layer| images.layers().path(layer)).collect());
    let mut request = completed(request, &config)?;
    volumes::complete(&store, &mut request, config.config.volumes.keys())?;
    networks::complete(settings, &mut request)?;
    let origin = Some(Origin { id: image.id, layers });
    Ok(Resolved { request, source, origin, bringing: Some(bringing), door: None })
}

/// What the root of a container that was made before is made of: the image's name may mean another one by now.
pub(crate) fn source(settings: &Settings, record: &Record) -> Result<storage::Source, Failure> {
    Ok(match (&record.request.image, &record.origin) {
        (_, Some(origin)) => {
            let images = Images::open(&settings.root)?;
            let layers = images.layers();
            storage::Source::Layers(origin.layers.iter().map(|layer| layers.path(layer)).collect())
        }
        (Image::Directory(path), _) => storage::Source::Directory(path.clone()),
        (Image::DirectoryOverlay(path), _) => storage::Source::DirectoryOverlay(path.clone()),
        (Image::Pause, _) => storage::Source::Layers(Vec::new()),
        (Image::Host | Image::Named(_), _) => storage::Source::Host,
    })
}

/// An image that is not here, as Docker says it.
pub(crate) fn absent(name: &str) -> Error {
    Error::new(Kind::NoSuchImage, format!("no such image: {name}"))
        .hint(format!("`minidocker images` lists those that are here; `minidocker pull {name}` may bring it"))
}

/// Docker's rules: an entry point that was typed takes the image's command with it; variables and labels of the image
/// come first, so that typed ones win.
fn completed(request: &RunRequest, config: &images::Config) -> Result<RunRequest, Error> {
    let start = &config.config;
    let mut request = request.clone();
    if request.entrypoint.is_none() {
        if request.command.is_empty() {
            request.command.clone_from(&start.cmd);
        }
        request.entrypoint = Some(start.entrypoint.clone());
    }
    if request.entrypoint.as_ref().is_none_or(Vec::is_empty) && request.command.is_empty() {
        return Err(Error::new(Kind::Invalid, format!("the image {} has no command", request.image))
            .hint("name one after the image"));
    }
    let variable = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), Some(value.to_owned()))
    };
    let own = start.env.iter().map(variable);
    request.process.env = own.chain(std::mem::take(&mut request.process.env)).collect();
    if request.process.user.is_none() && !start.user.is_empty() {
        request.process.user = Some(start.user.clone());
    }
    if request.process.workdir.is_none() && !start.working_dir.is_empty() {
        // Docker takes a relative one as seen from the root.
        request.process.workdir = Some(std::path::Path::new("/").join(&start.working_dir));
    }
    if request.stop_signal.is_none() {
        request.stop_signal = start.stop_signal.as_deref().and_then(|name| crate::signals::parse(name).ok());
    }
    request.healthcheck = match (request.healthcheck.take(), &start.healthcheck) {
        (Some(typed), Some(image)) => Some(typed.over(image)),
        (typed, image) => typed.or_else(|| image.clone()),
    };
    request.shell.clone_from(&start.shell);
    // What is no port in an image is nobody's to reach.
    for ports in start.exposed_ports.keys().filter_map(|text| text.parse().ok()) {
        if !request.network.expose.contains(&ports) {
            request.network.expose.push(ports);
        }
    }
    for (name, value) in &start.labels {
        request.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(request)
}

/// A container that uses an image.
pub(crate) struct User {
    pub id: String,
    pub running: bool,
    pub origin: Origin,
}

/// All containers that were made of an image.
pub(crate) fn users(store: &Store) -> Result<Vec<User>, Error> {
    let mut users = Vec::new();
    for id in store.all()? {
        // A damaged record names no layers; `rm -f` is its way out.
        let Ok(Some(record)) = store.record(&id) else { continue };
        if let Some(origin) = record.origin {
            users.push(User { running: store.living_init(&id).is_some(), id, origin });
        }
    }
    Ok(users)
}

/// The layers of all containers; none where a record cannot be read, for what it uses is not known then.
pub(crate) fn used_layers(store: &Store) -> Result<Option<HashSet<Digest>>, Failure> {
    let mut used = HashSet::new();
    for id in store.all()? {
        let Ok(record) = store.record(&id) else { return Ok(None) };
        used.extend(record.and_then(|record| record.origin).into_iter().flat_map(|origin| origin.layers));
    }
    Ok(Some(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> images::Config {
        images::Config::parse(format!("{{\"config\":{text}}}").as_bytes()).unwrap()
    }

    fn words(request: &RunRequest) -> Vec<String> {
        request.entrypoint.iter().flatten().chain(&request.command).cloned().collect()
    }

    #[test]
    fn the_command_is_put_together_as_docker_does() {
        let both = config(r#"{"Entrypoint":["/start"],"Cmd":["serve"]}"#);
        let asked = |entrypoint: Option<&[&str]>, command: &[&str]| RunRequest {
            image: Image::Named("x".into()),
            entrypoint: entrypoint.map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..RunRequest::default()
        };
        let done = |entrypoint, command| words(&completed(&asked(entrypoint, command), &both).unwrap());
        assert_eq!(done(None, &[]), ["/start", "serve"]);
        assert_eq!(done(None, &["other"]), ["/start", "other"]);
        assert_eq!(done(Some(&["sh"]), &[]), ["sh"]);
        assert_eq!(done(Some(&["sh"]), &["-c"]), ["sh", "-c"]);
        assert_eq!(done(Some(&[]), &["x"]), ["x"]);
        assert!(completed(&asked(Some(&[]), &[]), &both).unwrap_err().message.contains("has no command"));
        assert!(completed(&asked(None, &[]), &config("null")).is_err());
    }

    #[test]
    fn the_images_check_is_taken_and_what_is_typed_of_it_wins() {
        let image = config(
            r#"{"Cmd":["x"],"Shell":["ash","-c"],"Healthcheck":{"Test":["CMD","up"],"Interval":5000000,"Retries":4}}"#,
        );
        let done = |typed: Option<oci::Healthcheck>| {
            let asked = RunRequest { healthcheck: typed, ..RunRequest::default() };
            let done = completed(&asked, &image).unwrap();
            assert_eq!(done.shell, ["ash", "-c"]);
            let check = done.healthcheck.unwrap();
            (check.test.join(" "), check.interval, check.retries)
        };
        assert_eq!(done(None), ("CMD up".into(), 5_000_000, 4));
        let typed = oci::Healthcheck { retries: 1, ..oci::Healthcheck::default() };
        assert_eq!(done(Some(typed)), ("CMD up".into(), 5_000_000, 1));
        assert_eq!(done(Some(oci::Healthcheck::none())).0, "NONE");
        let plain = completed(&RunRequest::default(), &config(r#"{"Cmd":["x"]}"#)).unwrap();
        assert_eq!((plain.healthcheck, plain.shell), (None, Vec::new()));
    }

    #[test]
    fn what_is_typed_wins_over_what_the_image_says() {
        let image = config(
            r#"{"Cmd":["x"],"User":"web","WorkingDir":"srv","Env":["A=image","B=image","C"],
                "Labels":{"a":"image","b":"image"}}"#,
        );
        let mut asked = RunRequest::default();
        asked.process.env = vec![("A".into(), Some("typed".into()))];
        asked.labels.insert("a".into(), "typed".into());
        let done = completed(&asked, &image).unwrap();
        let last = |name: &str| done.process.env.iter().rfind(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!([last("A"), last("B"), last("C")].map(Option::unwrap), ["typed", "image", ""]);
        assert_eq!(done.labels["a"], "typed");
        assert_eq!(done.labels["b"], "image");
        assert_eq!(done.process.user.as_deref(), Some("web"));
        assert_eq!(done.process.workdir.as_deref(), Some(std::path::Path::new("/srv")));
        asked.process.user = Some("0".into());
        asked.process.workdir = Some("/typed".into());
        let done = completed(&asked, &image).unwrap();
        assert_eq!(
            (done.process.user.unwrap(), done.process.workdir.unwrap()),
            ("0".into(), "/typed".into())
        );
    }
}

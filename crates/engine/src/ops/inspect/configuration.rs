//! `Config`: how the container's program starts, image and request together.

use ::images::Images;
use serde_json::{Map, Value, json};

use super::super::port;
use crate::Settings;
use crate::request::NetworkMode;
use crate::state::Record;

pub(super) fn of(settings: &Settings, record: &Record) -> Value {
    let request = &record.request;
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, value) in &request.process.env {
        variables.retain(|(known, _)| known != name);
        variables.extend(value.clone().map(|value| (name.clone(), value)));
    }
    let environment: Vec<String> =
        variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let image = image(settings, record);
    let of_image = |name: &str| image.get(name).cloned().unwrap_or(Value::Null);
    let entrypoint = request.entrypoint.as_ref().filter(|words| !words.is_empty());
    let hostname = match (&request.namespaces.hostname, &request.network.mode) {
        (Some(name), _) => name.clone(),
        (None, NetworkMode::Host) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        _ => record.id.chars().take(12).collect(),
    };
    let mut value = json!({
        "Hostname": hostname,
        "Domainname": request.namespaces.domainname.clone().unwrap_or_default(),
        "User": request.process.user.clone().unwrap_or_default(),
        "AttachStdin": request.interactive && !request.detach,
        "AttachStdout": !request.detach,
        "AttachStderr": !request.detach,
        "Tty": request.tty,
        "OpenStdin": request.interactive,
        "StdinOnce": request.interactive && !request.detach,
        "Env": if environment.is_empty() { Value::Null } else { json!(environment) },
        "Cmd": if request.command.is_empty() { Value::Null } else { json!(request.command) },
        "Image": request.image.to_string(),
        "Volumes": of_image("Volumes"),
        "WorkingDir": request.process.workdir.clone().unwrap_or_default(),
        "Entrypoint": entrypoint.map_or(Value::Null, |words| json!(words)),
        "OnBuild": null,
        "Labels": request.labels,
    });
    if let Some(check) = &request.healthcheck {
        value["Healthcheck"] = json!(check);
    }
    if let Some(known) = image.get("Shell").filter(|known| !known.is_null()) {
        value["Shell"] = known.clone();
    }
    let exposed = port::exposed(record);
    let each = exposed.iter().flat_map(|ports| {
        (ports.first..=ports.last).map(|port| (format!("{port}/{}", ports.protocol), json!({})))
    });
    if !exposed.is_empty() {
        value["ExposedPorts"] = Value::Object(each.collect());
    }
    if let Some(signal) = request.stop_signal {
        value["StopSignal"] = match of_image("StopSignal") {
            Value::String(text) if crate::signals::parse(&text).is_ok_and(|known| known == signal) => {
                text.into()
            }
            _ => signal.to_string().into(),
        };
    }
    if let Some(timeout) = request.stop_timeout {
        value["StopTimeout"] = json!(timeout);
    }
    if let Some(mac) = request.network.mac {
        value["MacAddress"] = json!(::network::mac_text(mac));
    }
    value
}

/// What the image says; nothing where it is gone.
fn image(settings: &Settings, record: &Record) -> Map<String, Value> {
    let read = || {
        let images = Images::open(&settings.root).ok()?;
        let image = images.by_id(&record.origin.as_ref()?.id).ok()??;
        let config: Value = serde_json::from_slice(&images.config_bytes(&image).ok()?).ok()?;
        config.get("config")?.as_object().cloned()
    };
    read().unwrap_or_default()
}

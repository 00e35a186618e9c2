//! systemd as the keeper of units: starting, stopping, changing them, each waited for until it is done.
//! Source: org.freedesktop.systemd1(5).

use std::time::Instant;

use ::step::Failure;

use super::bus::{Bus, Error, PATIENCE, bus_method};
use super::message::{Message, Method};
use super::place::Place;
use super::properties::Property;
use super::unit::Unit;
use super::value::{Type, Value};

const fn method(member: &'static str) -> Method {
    Method {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member,
    }
}

/// What a plan must know of a running systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its version: 252.
    pub version: u32,
    /// Its own control group: empty, or that of a user's manager, `/user.slice/user-1000.slice/user@1000.service`.
    pub root: String,
    /// Whether it is a user's own.
    pub rootless: bool,
}

impl Facts {
    /// The control group of a unit of this manager, in every hierarchy.
    pub fn path(&self, unit: &Unit) -> String {
        format!("{}{}", self.root.trim_end_matches('/'), unit.path)
    }
}

/// A connection to systemd. Nothing of it costs anything before [`Manager::connect`].
#[derive(Debug)]
pub struct Manager {
    bus: Bus,
    /// Whether a bus is between us, which must be told which signals to pass on.
    bussed: bool,
    /// The units whose jobs the bus tells us of.
    watched: Vec<String>,
    facts: Facts,
}

/// How a job of systemd's ended.
enum Ended {
    Done,
    /// `failed`, `timeout`, `canceled`, `dependency`, `skipped`.
    Otherwise(String),
    /// Not yet.
    Late,
}

impl Manager {
    /// Connects to the host's systemd, or to the user's own for a `rootless` one: over the system's or the user's
    /// message bus, else, for root and for users, over systemd's own socket.
    ///
    /// Errors tell every place that was tried.
    pub fn connect(rootless: bool) -> Result<Self, Failure> {
        let (euid, uid) = (rustix::process::geteuid(), rustix::process::getuid());
        let places = Place::all(rootless, euid.is_root(), uid.as_raw(), |name| std::env::var_os(name));
        let mut tried = Vec::new();
        for place in &places {
            match Self::connect_to(place, rootless) {
                Ok(manager) => return Ok(manager),
                Err(error) => tried.push(format!("{}: {error}", place.address)),
            }
        }
        let target = if rootless { "the user's systemd" } else { "systemd" };
        let failure = Failure::because("systemd.connect", target, tried.join("; "));
        Err(failure.hint(if rootless {
            "a user's systemd runs while the user is logged in (loginctl enable-linger keeps it) and is found by \
             XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS; without it, leave the systemd driver out"
        } else {
            "where systemd is not process 1, leave the systemd driver out: groups are made without it then"
        }))
    }

    pub(super) fn connect_to(place: &Place, rootless: bool) -> Result<Self, Error> {
        let mut bus = Bus::connect(&place.address, place.bus)?;
        let deadline = Instant::now() + PATIENCE;
        // Asked together: the answers take one way back and forth.
        let questions = ["Version", "ControlGroup"].map(|name| {
            let get = get(method("").path, method("").interface, name);
            bus.send(&get)
        });
        let [version, root] = questions;
        let version = text(bus.answer(version?, deadline)?)?;
        let root = text(bus.answer(root?, deadline)?)?;
        let version =
            parse_version(&version).ok_or_else(|| Error::Unexpected(format!("version {version:?}")))?;
        Ok(Self { bus, bussed: place.bus, watched: Vec::new(), facts: Facts { version, root, rootless } })
    }

    /// What a plan must know of this systemd.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Makes the unit and waits until it runs. A scope takes the process `pid`, in our own pid namespace, which may be
    /// an init that waits: it is in the unit's group when this returns, and whatever it starts. A slice takes none,
    /// and one that is there already is as good.
    ///
    /// `properties` come after what every container has: its slice, delegation, accounting, no default dependencies;
    /// of two with one name the last holds. A failed unit of that name that was left behind is cleared away.
    ///
    /// Errors in systemd's own words. The process is the caller's to end, and a unit goes with its process.
    pub fn start(&mut self, unit: &Unit, pid: Option<i32>, properties: &[Property]) -> Result<(), Failure> {
        let wrong = |error: Error| self::wrong("systemd.start", &unit.name, error);
        let body = start_body(unit, pid, properties);
        let mut ended = self.job(unit, method("StartTransientUnit"), body.clone());
        if let Err(Error::Refused { name, .. }) = &ended
            && name == EXISTS
        {
            if unit.is_slice() && pid.is_none() {
                return Ok(());
            }
            // It may be what a crash has left. A unit that runs is not cleared by this.
            self.reset_failed(unit).map_err(wrong)?;
            ended = self.job(unit, method("StartTransientUnit"), body);
        }
        let failure = match ended.map_err(wrong)? {
            Ended::Done => return self.verify(unit),
            Ended::Otherwise(result) => {
                let reason = format!("systemd's job to start it ended as {result:?}");
                Failure::because("systemd.start", &unit.name, reason)
            }
            Ended::Late => {
                let reason = format!("systemd has not started it within {} s", PATIENCE.as_secs());
                Failure::because("systemd.start", &unit.name, reason)
            }
        };
        let _ = self.reset_failed(unit);
        Err(failure.hint(format!(
            "systemctl list-jobs, systemctl status {0} and journalctl -u {0} tell more",
            unit.name
        )))
    }

    /// Where the unit is must be where limits are written.
    fn verify(&mut self, unit: &Unit) -> Result<(), Failure> {
        let place = self.control_group(unit)?;
        let expected = self.facts.path(unit);
        match place {
            Some(place) if place == expected => Ok(()),
            place => {
                let place = place.unwrap_or_else(|| "nowhere: its process has ended".to_owned());
                let reason = format!("its control group is {place}, and not {expected}");
                Err(Failure::because("systemd.start", &unit.name, reason))
            }
        }
    }

    /// Stops the unit with all that is in it and waits until it is gone; then clears what is remembered of a failed
    /// one. A unit that is not there is stopped.
    ///
    /// systemd asks processes to end and kills them after `TimeoutStopUSec` (90 s by default), which is longer than
    /// this waits: [`crate::Group::kill`] first. A scope whose last process ends stops by itself.
    pub fn stop(&mut self, unit: &Unit) -> Result<(), Failure> {
        let ended = self.job(unit, method("StopUnit"), vec![unit.name.as_str().into(), "replace".into()]);
        // Whether there is anything to clear is no matter.
        let _ = self.reset_failed(unit);
        let reason = match ended {
            Ok(Ended::Done) => return Ok(()),
            Err(Error::Refused { name, .. }) if name == ABSENT => return Ok(()),
            Err(error) => return Err(wrong("systemd.stop", &unit.name, error)),
            Ok(Ended::Otherwise(result)) => format!("systemd's job to stop it ended as {result:?}"),
            Ok(Ended::Late) => format!("systemd has not stopped it within {} s", PATIENCE.as_secs()),
        };
        let hint = format!("kill what is in it first: systemctl kill -s KILL {}", unit.name);
        Err(Failure::because("systemd.stop", &unit.name, reason).hint(hint))
    }

    /// Changes properties of a running unit, until the host is booted anew. None is no call.
    pub fn set(&mut self, unit: &Unit, properties: &[Property]) -> Result<(), Failure> {
        if properties.is_empty() {
            return Ok(());
        }
        let body = vec![unit.name.as_str().into(), true.into(), pairs(properties)];
        let done = self.bus.call(method("SetUnitProperties"), body);
        done.map(|_| ()).map_err(|error| wrong("systemd.set", &unit.name, error))
    }

    /// Brings processes into the unit's group, or into the group `below` it (`/a/b`; empty for its own), which must be
    /// there.
    pub fn attach(&mut self, unit: &Unit, below: &str, pids: &[i32]) -> Result<(), Failure> {
        if !below.is_empty() {
            crate::plan::check_path(below)?;
        }
        let pids = Value::numbers(pids.iter().map(|pid| pid.unsigned_abs()));
        let body = vec![unit.name.as_str().into(), below.into(), pids];
        let done = self.bus.call(method("AttachProcessesToUnit"), body);
        done.map(|_| ()).map_err(|error| wrong("systemd.attach", &unit.name, error))
    }

    /// The unit's control group as systemd has it; none where it has none, as a unit that is not there.
    pub fn control_group(&mut self, unit: &Unit) -> Result<Option<String>, Failure> {
        let asked = self.ask(&unit.object(), unit.interface(), "ControlGroup");
        let place = asked.map_err(|error| wrong("systemd.ask", &unit.name, error))?;
        Ok(if place.is_empty() { None } else { Some(place) })
    }

    /// What state the unit is in: `active`, `failed`, `inactive` for one that is not there.
    pub fn state(&mut self, unit: &Unit) -> Result<String, Failure> {
        let asked = self.ask(&unit.object(), "org.freedesktop.systemd1.Unit", "ActiveState");
        asked.map_err(|error| wrong("systemd.ask", &unit.name, error))
    }

    fn ask(&mut self, object: &str, interface: &str, name: &str) -> Result<String, Error> {
        let serial = self.bus.send(&get(object, interface, name))?;
        text(self.bus.answer(serial, Instant::now() + PATIENCE)?)
    }

    /// Has systemd forget a failed unit. One that it does not know is forgotten.
    fn reset_failed(&mut self, unit: &Unit) -> Result<(), Error> {
        match self.bus.call(method("ResetFailedUnit"), vec![unit.name.as_str().into()]) {
            Ok(_) => Ok(()),
            Err(Error::Refused { name, .. }) if name == ABSENT => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Calls a method that makes a job of the unit's, and waits for the job's end.
    fn job(&mut self, unit: &Unit, method: Method, body: Vec<Value>) -> Result<Ended, Error> {
        let deadline = Instant::now() + PATIENCE;
        self.bus.forget_signals();
        let watch = self.watch(unit)?;
        let serial = self.bus.send(&Message::call(method, body))?;
        if let Some(watch) = watch {
            self.bus.answer(watch, deadline)?;
            self.watched.push(unit.name.clone());
        }
        let answer = self.bus.answer_whole(serial, deadline)?;
        let [Value::Path(job)] = answer.body.as_slice() else {
            return Err(Error::Unexpected(format!("{:?}", answer.body)));
        };
        // Anybody on a bus may send us a signal of that name; the end of a job is told by whoever gave us the job.
        let told = |message: &Message| removed(message, job).filter(|_| message.sender == answer.sender);
        match self.bus.signal(deadline, told) {
            Ok(result) if result == "done" => Ok(Ended::Done),
            Ok(result) => Ok(Ended::Otherwise(result)),
            Err(Error::Late) => Ok(Ended::Late),
            Err(error) => Err(error),
        }
    }

    /// Asks a bus for the ends of this unit's jobs alone: of thousands of others it would wake us for each. Systemd's
    /// own socket tells of all of them unasked.
    fn watch(&mut self, unit: &Unit) -> Result<Option<u32>, Error> {
        if !self.bussed || self.watched.contains(&unit.name) {
            return Ok(None);
        }
        // A unit's name has no quotes and no commas.
        let rule = format!(
            "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
             interface='org.freedesktop.systemd1.Manager',member='JobRemoved',arg2='{}'",
            unit.name
        );
        self.bus.send(&Message::call(bus_method("AddMatch"), vec![rule.into()])).map(Some)
    }
}

// The errors that are none, or that have a way out: `src/libsystemd/sd-bus/bus-common-errors.h`.
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const ABSENT: &str = "org.freedesktop.systemd1.NoSuchUnit";

const PROPERTY: &str = "this systemd does not take a property, or not with such a value: annotations \
                        org.systemd.property.* need its exact type, as in uint64 5; see org.freedesktop.systemd1(5)";

fn wrong(step: &'static str, unit: &str, error: Error) -> Failure {
    let failure = Failure::because(step, unit, error.to_string());
    let Error::Refused { name, words } = &error else { return failure };
    match name.strip_prefix("org.freedesktop.").unwrap_or(name) {
        "systemd1.UnitExists" => failure.hint(
            "another container of this name runs, or was not removed: see systemctl status of the unit",
        ),
        "DBus.Error.AccessDenied" | "DBus.Error.InteractiveAuthorizationRequired" => failure
            .hint("units of the host are root's: run as root, or rootless with a systemd of the user's own"),
        "DBus.Error.PropertyReadOnly" | "DBus.Error.UnknownProperty" | "DBus.Error.InvalidArgs" => {
            failure.hint(PROPERTY)
        }
        // A value of another type: systemd reads on and gives whatever error number that ends in.
        _ if words.starts_with("Failed to set unit properties") => failure.hint(PROPERTY),
        _ => failure,
    }
}

/// `Get` of a property.
fn get(object: &str, interface: &str, name: &str) -> Message {
    let get = Method { interface: "org.freedesktop.DBus.Properties", member: "Get", ..method("") };
    let message = Message::call(get, vec![interface.into(), name.into()]);
    Message { path: Some(object.to_owned()), ..message }
}

/// The string of a property.
fn text(body: Vec<Value>) -> Result<String, Error> {
    match body.as_slice() {
        [Value::Variant(value)] => value.text().map(str::to_owned),
        _ => None,
    }
    .ok_or_else(|| Error::Unexpected(format!("{body:?}")))
}

/// The result of that job, if the message tells its end: its number, its object, its unit, its result.
fn removed(message: &Message, job: &str) -> Option<String> {
    if message.member.as_deref() != Some("JobRemoved") {
        return None;
    }
    match message.body.as_slice() {
        [Value::Uint32(_), Value::Path(path), Value::String(_), Value::String(result)] if path == job => {
            Some(result.clone())
        }
        _ => None,
    }
}

/// `252 (252.39-1~deb12u2)`, `v245.4-1.fc32`, `252`: the first number.
fn parse_version(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(['"', 'v']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// `a(sv)`.
fn pairs(properties: &[Property]) -> Value {
    let element = Type::Struct(vec![Type::String, Type::Variant]);
    Value::Array(element, properties.iter().map(Property::pair).collect())
}

/// What every unit of a container has.
pub(super) fn common(unit: &Unit) -> Vec<Property> {
    let label = unit.name.trim_end_matches(".scope").trim_end_matches(".slice");
    let mut all = vec![Property::new("Description", format!("minidocker container {label}"))];
    if unit.is_slice() {
        all.push(Property::new("Wants", Value::strings([unit.slice.as_str()])));
    } else {
        all.push(Property::new("Slice", unit.slice.as_str()));
        // systemd leaves groups below to us.
        all.push(Property::new("Delegate", true));
    }
    // Usage is to be had without limits too, and the memory controller counts only what comes after it.
    for name in ["MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"] {
        all.push(Property::new(name, true));
    }
    // Without these a shutdown would not wait for what stops containers properly.
    all.push(Property::new("DefaultDependencies", false));
    all
}

/// The arguments of StartTransientUnit.
fn start_body(unit: &Unit, pid: Option<i32>, properties: &[Property]) -> Vec<Value> {
    let mut all = common(unit);
    all.extend(pid.map(|pid| Property::new("PIDs", Value::numbers([pid.unsigned_abs()]))));
    all.extend(properties.iter().cloned());
    let others = Type::Struct(vec![
        Type::String,
        Type::Array(Box::new(Type::Struct(vec![Type::String, Type::Variant]))),
    ]);
    vec![unit.name.as_str().into(), "replace".into(), pairs(&all), Value::Array(others, vec![])]
}

#[cfg(test)]
mod tests;

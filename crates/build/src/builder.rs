//! Stages beside each other, those of all platforms: each in a thread, those that need another wait for it. What works at
//! a time is bounded; what waits costs nothing. A step that two platforms have in common is done once: it has one key.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use oci::{Digest, Platform};

use crate::cache::{Cache, Key, Record};
use crate::config::{self, Image};
use crate::dockerfile::{self, Dockerfile};
use crate::error::Error;
use crate::host::{Host, Layer, Stream};
use crate::plan::{self, Plan, Planned, Wish};
use crate::progress::{Event, Progress, Vertex};
use crate::shelf::Shelf;
use crate::stage;
use crate::tree::memo::Memo;
use crate::tree::stack::Stack;
use crate::{Built, Request, squash};

/// What all stages share.
pub(crate) struct Builder<'b> {
    pub(crate) request: &'b Request,
    pub(crate) host: &'b dyn Host,
    pub(crate) progress: &'b dyn Progress,
    pub(crate) file: Dockerfile,
    /// One for each platform.
    pub(crate) plans: Vec<Plan>,
    pub(crate) cache: Cache<'b>,
    pub(crate) shelf: Shelf,
    pub(crate) memo: Memo,
    pub(crate) context: Stack,
    pub(crate) epoch: Option<i64>,
    pub(crate) stop: AtomicBool,
    numbers: AtomicU32,
    cached: AtomicUsize,
    done: AtomicUsize,
    stages: Mutex<BTreeMap<StageId, State>>,
    changed: Condvar,
    /// Layers of this build by their keys; none as long as one is being made.
    made: Mutex<BTreeMap<String, Option<(Layer, String)>>>,
    making: Condvar,
    /// How many more steps may work.
    free: Mutex<usize>,
    freed: Condvar,
}

/// How often a waiting stage looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(100);

enum State {
    Working,
    Done(Arc<Stage>),
    Failed,
}

/// A stage of a platform's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StageId {
    pub(crate) plan: usize,
    pub(crate) index: usize,
}

impl StageId {
    /// Another one for the same platform.
    pub(crate) fn beside(self, index: usize) -> Self {
        Self { index, ..self }
    }
}

/// A stage as far as it is built.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) image: Image,
    pub(crate) layers: Vec<Layer>,
    /// How many layers the image at the bottom brought.
    pub(crate) inherited: usize,
}

/// What is said of a stage that ends because of another.
const STOPPED: &str = "another stage failed";

/// Builds: an image for each platform, in their order.
///
/// # Errors
/// What is wrong with the Dockerfile; the step that failed, with its line.
pub fn build(request: &Request, host: &dyn Host, progress: &dyn Progress) -> Result<Vec<Built>, Error> {
    let file = dockerfile::parse(&request.source).map_err(|error| Error::parse(&request.file, error))?;
    let plan_for = |platform| {
        plan::plan(
            &file,
            &Wish {
                file: &request.file,
                source: &request.source,
                target: request.target.as_deref(),
                arguments: &request.arguments,
                platform,
            },
        )
    };
    let plans = request.platforms.iter().map(plan_for).collect::<Result<Vec<_>, _>>()?;
    if let Some(unused) = plans.first().map(|plan| plan.unused.join(", ")).filter(|all| !all.is_empty()) {
        let words = format!("no ARG asks for the build arguments {unused}");
        progress.event(&Event::Warning(&words));
    }
    let epoch = match (request.epoch, request.arguments.get("SOURCE_DATE_EPOCH")) {
        (None, Some(text)) if !text.is_empty() => Some(
            text.parse()
                .map_err(|_| Error::new(format!("SOURCE_DATE_EPOCH={text} is no number of seconds")))?,
        ),
        (epoch, _) => epoch,
    };
    let context = Stack::plain(&request.context).map_err(|errno| {
        Error::from(step::Failure::new("build.context", request.context.display().to_string(), errno))
    })?;
    let own = request.root.join("build");
    let shelf = Shelf::open(&request.root, request.userxattr, request.compression, epoch)?;
    let jobs = match request.jobs {
        0 => thread::available_parallelism().map_or(2, usize::from),
        jobs => jobs,
    };
    let warn = |words: &str| progress.event(&Event::Warning(words));
    let builder = Builder {
        request,
        host,
        progress,
        file,
        plans,
        cache: Cache::open(&own, (&request.cache_from, &request.cache_to, !request.no_cache), host, &warn)?,
        shelf,
        memo: Memo::load(own.join("digests")),
        context,
        epoch,
        stop: AtomicBool::new(false),
        numbers: AtomicU32::new(0),
        cached: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        stages: Mutex::new(BTreeMap::new()),
        changed: Condvar::new(),
        made: Mutex::default(),
        making: Condvar::new(),
        free: Mutex::new(jobs),
        freed: Condvar::new(),
    };
    let built = builder.all().and_then(|stages| builder.finish(&stages));
    builder.memo.save();
    built
}

impl Builder<'_> {
    /// What each plan ends in.
    fn all(&self) -> Result<Vec<Arc<Stage>>, Error> {
        let first = Mutex::new(None);
        thread::scope(|scope| {
            let start = |id| {
                let first = &first;
                scope.spawn(move || {
                    if let Err(error) = self.stage(id) {
                        self.stop.store(true, Ordering::Relaxed);
                        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                        // Who waits for a stage may hear of its end before it has told why.
                        if first.as_ref().is_none_or(|first: &Error| first.message == STOPPED) {
                            *first = Some(error);
                        }
                    }
                })
            };
            let needed = |(plan, of): (usize, &Plan)| -> Vec<StageId> {
                of.needed.iter().map(|index| StageId { plan, index: *index }).collect()
            };
            let threads: Vec<_> = self.plans.iter().enumerate().flat_map(needed).map(start).collect();
            for thread in threads {
                if let Err(panic) = thread.join() {
                    resume_unwind(panic);
                }
            }
        });
        match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => {
                let target = |(plan, of): (usize, &Plan)| self.stage(StageId { plan, index: of.target });
                self.plans.iter().enumerate().map(target).collect()
            }
        }
    }

    /// A stage: built by whoever asks first, awaited by the others.
    pub(crate) fn stage(&self, id: StageId) -> Result<Arc<Stage>, Error> {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match stages.get(&id) {
                Some(State::Done(stage)) => return Ok(stage.clone()),
                Some(State::Failed) => return Err(stopped()),
                Some(State::Working) => {
                    stages = self.changed.wait(stages).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        stages.insert(id, State::Working);
        drop(stages);
        let mut ending = Ending { builder: self, id, state: Some(State::Failed) };
        let built = stage::build(self, id).map(Arc::new);
        if let Ok(stage) = &built {
            ending.state = Some(State::Done(stage.clone()));
        }
        built
    }

    /// Waits until one more may work.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Turn { free: &self.free, freed: &self.freed }
    }

    /// An error if another stage failed meanwhile.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(stopped()) } else { Ok(()) }
    }

    /// How a stage is planned.
    pub(crate) fn planned(&self, id: StageId) -> &Planned {
        &self.plans[id.plan].stages[id.index]
    }

    /// What a stage is called: where there are several platforms with its own, and with that of the image behind an arrow.
    fn called(&self, id: StageId) -> String {
        let Planned { name, platform, .. } = self.planned(id);
        let target = &self.request.platforms[id.plan];
        match self.plans.len() {
            1 => name.clone(),
            _ if platform == target => format!("{platform} {name}"),
            _ => format!("{platform}->{target} {name}"),
        }
    }

    /// Begins to tell of a step.
    pub(crate) fn vertex(&self, stage: StageId, index: usize, of: usize, text: &str) -> Vertex {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let vertex = Vertex { number, stage: self.called(stage), index, of, text: text.to_owned() };
        self.progress.event(&Event::Started(&vertex));
        vertex
    }

    /// Does something of a step, and tells how it went.
    pub(crate) fn told<T>(
        &self,
        vertex: &Vertex,
        work: impl FnOnce() -> Result<(T, bool), Error>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let result = work();
        match &result {
            Ok((_, true)) => self.progress.event(&Event::Cached(vertex)),
            Ok((_, false)) => {
                self.progress.event(&Event::Done { vertex, seconds: begun.elapsed().as_secs_f64() });
            }
            Err(error) => self.progress.event(&Event::Failed(vertex, &error.message)),
        }
        result.map(|(value, _)| value)
    }

    pub(crate) fn output<'o>(&'o self, vertex: &'o Vertex) -> impl Fn(Stream, &[u8]) + Sync + 'o {
        move |stream, bytes| self.progress.event(&Event::Output(vertex, stream, bytes))
    }

    /// The layer of a key: from the cache, or made. Whether it was cached, and when it was made.
    pub(crate) fn layer(
        &self,
        key: Key,
        make: impl FnOnce() -> Result<Layer, Error>,
    ) -> Result<(Layer, String, bool), Error> {
        let mut key = key;
        key.add("manner", self.shelf.manner().as_bytes());
        let key = key.finish();
        self.done.fetch_add(1, Ordering::Relaxed);
        // Two stages may have the same step: made twice it would have two times.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match made.get(&key) {
                None => break,
                Some(Some((layer, created))) => return Ok((layer.clone(), created.clone(), true)),
                Some(None) => {
                    let waited = self.making.wait_timeout(made, GLANCE);
                    made = waited.unwrap_or_else(PoisonError::into_inner).0;
                    self.go_on()?;
                }
            }
        }
        made.insert(key.clone(), None);
        drop(made);
        let result = self.layer_once(&key, make);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok((layer, created, _)) => made.insert(key, Some((layer.clone(), created.clone()))),
            Err(_) => made.remove(&key),
        };
        drop(made);
        self.making.notify_all();
        result
    }

    fn layer_once(
        &self,
        key: &str,
        make: impl FnOnce() -> Result<Layer, Error>,
    ) -> Result<(Layer, String, bool), Error> {
        if let Some(record) = self.cache.find(key, &self.shelf.blobs)
            && let Some(layer) = self.shelf.layer(&record)?
        {
            self.cache.export(key, &record, &self.shelf.blobs)?;
            self.cached.fetch_add(1, Ordering::Relaxed);
            return Ok((layer, record.created, true));
        }
        self.go_on()?;
        let layer = make()?;
        let created = self.now();
        let record = Record::new(layer.diff_id, &layer.media_type, layer.digest, layer.size, created.clone());
        self.cache.keep(key, &record, &self.shelf.blobs)?;
        Ok((layer, created, false))
    }

    /// The time that is written into the image.
    pub(crate) fn now(&self) -> String {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        match self.epoch {
            Some(epoch) if epoch < now.tv_sec => config::time(epoch, 0),
            _ => config::time(now.tv_sec, now.tv_nsec as u32),
        }
    }

    /// The images of finished stages, one for each plan.
    fn finish(&self, stages: &[Arc<Stage>]) -> Result<Vec<Built>, Error> {
        let platforms = self.request.platforms.iter();
        let images = stages.iter().zip(platforms).map(|(stage, platform)| self.image(stage, platform));
        let mut images = images.collect::<Result<Vec<Built>, Error>>()?;
        self.shelf.publish()?;
        let layers = images.iter().flat_map(|built| &built.layers);
        self.cache.carry(&layers.map(|layer| layer.diff_id).collect::<Vec<Digest>>())?;
        for built in &mut images {
            built.layers.iter_mut().for_each(|layer| self.shelf.settled(layer));
        }
        Ok(images)
    }

    /// The image of a finished stage; its new layers have no names yet.
    fn image(&self, stage: &Stage, platform: &Platform) -> Result<Built, Error> {
        let mut stage = stage.clone();
        for (name, value) in &self.request.labels {
            stage.image.config.labels.insert(name.clone(), value.clone());
        }
        if self.request.squash && stage.layers.len() > stage.inherited + 1 {
            squash::squash(self, &mut stage)?;
        }
        let Stage { mut image, layers, .. } = stage;
        image.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        image.created = Some(image.last_created().unwrap_or_else(|| self.now()));
        image.carrier = self.cache.inline(&image.rootfs.diff_ids);
        let wrong =
            |error: serde_json::Error| Error::new(format!("the configuration cannot be written: {error}"));
        let config = serde_json::to_vec(&image).map_err(wrong)?;
        let manifest = config::manifest(&config, &layers);
        Ok(Built {
            config_digest: self.shelf.blobs.put_bytes(&config)?,
            manifest_digest: self.shelf.blobs.put_bytes(&manifest)?,
            config,
            manifest,
            media_type: config::MANIFEST,
            layers,
            platform: platform.clone(),
            cached: (self.cached.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed)),
        })
    }
}

/// Tells those who wait how a stage ended, by a panic of the host's too.
struct Ending<'e> {
    builder: &'e Builder<'e>,
    id: StageId,
    state: Option<State>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut stages = self.builder.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.extend(self.state.take().map(|state| (self.id, state)));
        self.builder.changed.notify_all();
    }
}

/// Of a stage that another one's failure ends: never told, for that failure is.
fn stopped() -> Error {
    Error::new(STOPPED)
}

/// The right to work; given back at its end.
pub(crate) struct Turn<'t> {
    free: &'t Mutex<usize>,
    freed: &'t Condvar,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }
}

/// The identity of layers over each other.
pub(crate) fn chain(layers: &[Layer]) -> Digest {
    let mut hasher = oci::Hasher::default();
    layers.iter().for_each(|layer| hasher.update(layer.diff_id.bytes()));
    hasher.finish()
}

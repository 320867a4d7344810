//! Builds what a verb works with: the checked stack, its state and the kinds.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    access, cloud, cluster,
    environment::Environment,
    error::CliError,
    exit::Exit,
    flags::Global,
    lifetime,
    print::tell_person,
    screen::Screen,
    signals,
    store::{left_behind, store},
    tell::{Voice, say},
};
use crate::{
    engine::{Cancel, Canceller, Run},
    local::{self, Local},
    model::{Address, EventKind, Mistake, Secret, StackModel, Verb},
    output::{self, View},
    resource::{Registry, Stack, Wanted},
    stack,
    state::{Holder, KeyedHash, Loaded, SharedStore, Snapshot, Status, hex, make_folder},
};

/// The bytes of a stack's key.
const KEY: usize = 32;
/// A checked stack with the resources that it comes to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) model: StackModel,
    /// The cluster's address.
    pub(super) cluster: Address,
    pub(super) wanted: Vec<Arc<Wanted>>,
    /// The folder that holds everything of the stack.
    pub(super) folder: PathBuf,
}

/// Reads the stack files.
pub(super) fn model(global: &Global, environment: &Environment) -> Result<StackModel, CliError> {
    let mut files = global.file.clone();
    if files.is_empty() {
        let found = stack::find(Path::new("."));
        files.push(found.map_err(|mistake| {
            CliError::mistakes(std::slice::from_ref(&mistake))
                .hint("write one with 'stackup init', or name one with -f")
        })?);
    }
    let request = stack::Request {
        files,
        set: global.set.clone(),
        env: environment.text(),
    };
    stack::load(&request).map_err(|mistakes| CliError::mistakes(&mistakes))
}

/// Reads the stack files and all manifests.
pub(super) fn open(global: &Global, environment: &Environment) -> Result<Opened, CliError> {
    let model = model(global, environment)?;
    let folder = model.folder.join(".stackup").join(&model.name);
    let part = cluster::part(&model)?;
    let objects = access::expand(&model, &part.cluster, &part.pods_need)
        .map_err(|mistakes: Vec<Mistake>| CliError::mistakes(&mistakes))?;
    let companions = local::companions(&model, &part.cluster, &objects.companions);
    let wanted = part
        .wanted
        .into_iter()
        .chain(objects.wanted)
        .chain(companions)
        .map(Arc::new)
        .collect();
    Ok(Opened {
        cluster: part.cluster,
        wanted,
        folder,
        model,
    })
}

/// Everything that a run needs.
pub(super) struct Session {
    pub(super) opened: Opened,
    pub(super) run: Run,
    pub(super) store: Box<dyn SharedStore>,
    pub(super) loaded: Loaded,
    pub(super) clusters: access::Clusters,
    pub(super) cloud: cloud::Cloud,
    pub(super) canceller: Option<Canceller>,
    voice: Voice,
    /// Whether any state was found.
    pub(super) known: bool,
}

impl Session {
    /// Opens the state. With `verb` the folder is made and the lock taken, and [`Session::close`] gives it back; without,
    /// nothing is written.
    pub(super) async fn open(
        mut opened: Opened,
        environment: &Environment,
        verb: Option<Verb>,
        adopt: bool,
    ) -> Result<Self, CliError> {
        let pace = environment.pace()?;
        let mut store = store(&opened.model, &opened.folder, random(32)?).await?;
        if let Some(verb) = verb {
            make_folder(&opened.folder)?;
            store.lock(&holder(verb.name())).await?;
        }
        let found = read(store.as_mut(), &opened, verb.is_some()).await;
        let (found, key) = match found {
            Ok(found) => found,
            Err(error) => {
                give_back(store.as_mut()).await;
                return Err(error);
            }
        };
        let known = found.is_some();
        let mut loaded = match found {
            Some(loaded) => loaded,
            None => Loaded {
                snapshot: Snapshot::new(&opened.model.name, random(16)?, random(16)?),
                unfinished: false,
                notes: Vec::new(),
            },
        };
        lifetime::stamp(opened.model.lifetime, &mut opened.wanted, &mut loaded.snapshot);
        let hash = KeyedHash::new(key);
        let (voice, events) = Voice::new();
        if let Some(verb) = verb {
            let stack = opened.model.name.clone();
            events.send(EventKind::RunStarted { verb, stack });
        }
        for note in &loaded.notes {
            events.warn(note.clone());
        }
        let cloud = cloud::cloud(&opened.model);
        let clusters = access::clusters(&opened.folder, hash.key().clone(), voice.warner(), &cloud);
        let local = Arc::new(Local::new(opened.folder.clone(), environment.programs()));
        let kinds = [
            local::kinds(&local),
            access::kinds(&clusters, &cloud),
            cloud::kinds(&cloud),
        ];
        let registry = Registry::new(kinds.into_iter().flatten());
        let stack = Stack {
            name: opened.model.name.clone(),
            uid: loaded.snapshot.uid.clone(),
        };
        let (canceller, cancel): (Canceller, Cancel) = Canceller::new();
        let run = Run {
            stack: Arc::new(stack),
            registry,
            events,
            cancel,
            hash,
            adopt,
            pace,
        };
        Ok(Self {
            opened,
            run,
            store,
            loaded,
            clusters,
            cloud,
            canceller: Some(canceller),
            voice,
            known,
        })
    }

    /// From here on a signal stops what is done, in order; before, it ends the program, which has begun nothing.
    pub(super) fn listen(&mut self) -> Result<(), CliError> {
        self.canceller.take().map_or(Ok(()), signals::listen)
    }

    /// Begins a verb that changes something, or takes up one that did not end.
    pub(super) fn begin(&mut self, global: &Global, screen: &Screen) {
        if screen.view == View::Json {
            self.tell(screen);
        }
        if self.loaded.unfinished {
            let unfinished = self.unfinished();
            let begun = output::plural(unfinished.len(), "resource");
            say(
                global,
                screen,
                &format!("resuming: an earlier run did not end; {begun} had begun"),
            );
            self.run.events.send(EventKind::Resumed { unfinished });
        }
    }

    /// Tells what has happened, and what happens from here on.
    pub(super) fn tell(&mut self, screen: &Screen) {
        self.voice.tell(screen);
    }

    /// Tells the warnings so far.
    pub(super) fn warn(&mut self, screen: &Screen, asks: bool) {
        self.voice.warn(&self.run.events, screen, asks);
    }

    /// All that has happened is told; of what happens from here on, warnings wait for [`Self::warn`].
    pub(super) async fn catch_up(&mut self) {
        self.voice.catch_up(&mut self.run.events).await;
    }

    /// Gives the lock back, and tells the rest.
    pub(super) async fn close(&mut self) {
        give_back(self.store.as_mut()).await;
        self.voice.fall_silent(&mut self.run.events).await;
    }

    /// What an earlier run began and did not end.
    pub(super) fn unfinished(&self) -> Vec<Address> {
        let begun = self
            .loaded
            .snapshot
            .resources
            .iter()
            .filter(|(_, entry)| matches!(entry.status, Status::Begun { .. }));
        begun.map(|(address, _)| address.clone()).collect()
    }

    /// What the state knows of the cluster.
    pub(super) fn cluster_outputs(&self) -> Option<serde_json::Value> {
        let entry = self.loaded.snapshot.resources.get(&self.opened.cluster)?;
        Some(entry.remembered.outputs.clone()).filter(serde_json::Value::is_object)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "who holds the lock since when is told by the real clock"
)]
pub(super) fn holder(verb: &str) -> Holder {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").map(|host| host.trim().to_owned());
    Holder {
        pid: std::process::id(),
        host: host.unwrap_or_else(|_| "this machine".into()),
        verb: verb.to_owned(),
        since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

/// What the store has of the stack, and the key for hashes of secret values, which the first run that writes makes.
async fn read(
    store: &mut dyn SharedStore,
    opened: &Opened,
    writes: bool,
) -> Result<(Option<Loaded>, Secret<Vec<u8>>), CliError> {
    let found = store.load().await?;
    if found.is_none() {
        left_behind(&opened.model, &opened.folder)?;
    }
    if let Some(key) = store.key().await?.filter(|key| key.len() >= KEY) {
        return Ok((found, Secret::new(key)));
    }
    let key = bytes(KEY)?;
    if writes {
        store.keep_key(&key).await?;
    }
    Ok((found, Secret::new(key)))
}

/// Gives the lock back. One that cannot be given back lapses by itself.
async fn give_back(store: &mut dyn SharedStore) {
    if let Err(error) = store.release().await {
        let error = CliError::from(error);
        tell_person(&format!(
            "warning: the lock could not be given back and will lapse: {}",
            error.message
        ));
    }
}

/// Hexadecimal digits that nobody has had before.
pub(super) fn random(digits: usize) -> Result<String, CliError> {
    Ok(hex(&bytes(digits / 2)?))
}

fn bytes(count: usize) -> Result<Vec<u8>, CliError> {
    let mut bytes = vec![0; count];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| {
            CliError::new(Exit::Failed, "could not get random bytes from the system").cause(&error)
        })?;
    Ok(bytes)
}

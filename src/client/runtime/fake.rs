//! A daemon in memory, for tests: keeps containers, images and networks, and fails as it is told.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::pending;

use super::{
    Answer, Container, ContainerSpec, ContainerState, Daemon, Runtime, RuntimeError, Which,
};

/// When the one who calls dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Before the daemon hears of the call.
    Before,
    /// After the daemon did what it was asked, before the caller hears of it.
    After,
}

/// What the daemon has.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Containers by name, with the ports they publish.
    pub containers: BTreeMap<String, (Container, Vec<u16>)>,
    /// Images it has.
    pub images: BTreeSet<String>,
    /// Images a registry has.
    pub registry: BTreeSet<String>,
    /// Networks.
    pub networks: BTreeSet<String>,
    /// Ports of strangers.
    pub taken_ports: BTreeSet<u16>,
    /// Every call that changes something, in order: `create NAME`.
    pub changes: Vec<String>,
    /// Answers of the next calls that change something, instead of doing it.
    pub faults: VecDeque<RuntimeError>,
    /// The caller dies at the call that changes something with this number, from 0.
    pub death: Option<(usize, Death)>,
    is_down: bool,
    ids: u64,
}

/// One daemon, whatever its URL.
#[derive(Debug, Default)]
pub struct FakeRuntime {
    world: Mutex<World>,
}

impl FakeRuntime {
    /// What there is, to be looked at or changed.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches the daemon off, or on.
    pub fn set_down(&self, is_down: bool) {
        self.world().is_down = is_down;
    }

    /// Names of containers, and whether they run.
    pub fn running(&self) -> BTreeMap<String, bool> {
        let world = self.world();
        let running = |(found, _): &(Container, Vec<u16>)| found.is_running();
        world.containers.iter().map(|(name, found)| (name.clone(), running(found))).collect()
    }

    fn look<T>(&self, look: impl FnOnce(&World) -> T) -> Result<T, RuntimeError> {
        let world = self.world();
        match world.is_down {
            true => Err(RuntimeError::Unreachable("down".to_owned())),
            false => Ok(look(&world)),
        }
    }

    /// Never answers if the caller is to die here.
    async fn change<T>(
        &self,
        what: String,
        change: impl FnOnce(&mut World) -> Result<T, RuntimeError> + Send,
    ) -> Result<T, RuntimeError> {
        let answer = {
            let mut world = self.world();
            let number = world.changes.len();
            let death = world.death.filter(|(at, _)| *at == number).map(|(_, death)| death);
            if death == Some(Death::Before) {
                world.changes.push(format!("(not) {what}"));
                None
            } else {
                world.changes.push(what);
                let answer = if world.is_down {
                    Err(RuntimeError::Unreachable("down".to_owned()))
                } else if let Some(fault) = world.faults.pop_front() {
                    Err(fault)
                } else {
                    change(&mut world)
                };
                Some(answer).filter(|_| death.is_none())
            }
        };
        match answer {
            Some(answer) => answer,
            None => pending().await,
        }
    }
}

impl World {
    fn find(&mut self, name: &str) -> Result<&mut (Container, Vec<u16>), RuntimeError> {
        let mut all = self.containers.values_mut();
        all.find(|(found, _)| found.name == name || found.id == name)
            .ok_or_else(|| RuntimeError::NotFound(name.to_owned()))
    }

    fn start(&mut self, name: &str) -> Result<(), RuntimeError> {
        let (found, ports) = self.find(name)?.clone();
        if found.is_running() {
            return Ok(());
        }
        let others = self.containers.values().filter(|(other, _)| other.is_running());
        let mut used = others.flat_map(|(_, ports)| ports).chain(&self.taken_ports);
        if let Some(port) = used.find(|port| ports.contains(port)) {
            return Err(RuntimeError::PortInUse(port.to_string()));
        }
        self.find(name)?.0.state = ContainerState::Running;
        Ok(())
    }
}

impl Runtime for FakeRuntime {
    fn ping<'a>(&'a self, _: &'a Daemon, _: Duration) -> Answer<'a, ()> {
        Box::pin(async { self.look(|_| ()) })
    }

    fn list<'a>(
        &'a self,
        _: &'a Daemon,
        which: &'a Which,
        _: Duration,
    ) -> Answer<'a, Vec<Container>> {
        let is_meant = |container: &Container| match which {
            Which::Labelled(labels) => {
                labels.iter().all(|(name, value)| container.label(name) == value)
            }
            Which::Named(prefix) => container.name.starts_with(prefix.as_str()),
        };
        Box::pin(async move {
            self.look(|world| {
                let all = world.containers.values().map(|(found, _)| found);
                all.filter(|found| is_meant(found)).cloned().collect()
            })
        })
    }

    fn inspect<'a>(
        &'a self,
        _: &'a Daemon,
        name: &'a str,
        _: Duration,
    ) -> Answer<'a, Option<Container>> {
        Box::pin(async move {
            self.look(|world| world.containers.get(name).map(|(found, _)| found.clone()))
        })
    }

    fn create<'a>(
        &'a self,
        _: &'a Daemon,
        spec: &'a ContainerSpec,
        _: Duration,
    ) -> Answer<'a, String> {
        Box::pin(self.change(format!("create {}", spec.name), move |world| {
            if !world.images.contains(&spec.image) {
                return Err(RuntimeError::ImageMissing(spec.image.clone()));
            }
            if world.containers.contains_key(&spec.name) {
                return Err(RuntimeError::NameTaken(spec.name.clone()));
            }
            if !spec.network.is_empty() && !world.networks.contains(&spec.network) {
                return Err(RuntimeError::Other(format!("network {} not found", spec.network)));
            }
            world.ids += 1;
            let made = Container {
                id: format!("id-{}", world.ids),
                name: spec.name.clone(),
                labels: spec.labels.clone(),
                state: ContainerState::Created,
            };
            let ports = spec.published.values().copied().collect();
            let id = made.id.clone();
            world.containers.insert(spec.name.clone(), (made, ports));
            Ok(id)
        }))
    }

    fn start<'a>(&'a self, _: &'a Daemon, name: &'a str, _: Duration) -> Answer<'a, ()> {
        Box::pin(self.change(format!("start {name}"), move |world| world.start(name)))
    }

    fn stop<'a>(&'a self, _: &'a Daemon, name: &'a str, _: u32, _: Duration) -> Answer<'a, ()> {
        Box::pin(self.change(format!("stop {name}"), move |world| {
            world.find(name)?.0.state = ContainerState::Exited;
            Ok(())
        }))
    }

    fn restart<'a>(&'a self, _: &'a Daemon, name: &'a str, _: u32, _: Duration) -> Answer<'a, ()> {
        Box::pin(self.change(format!("restart {name}"), move |world| {
            world.find(name)?.0.state = ContainerState::Exited;
            world.start(name)
        }))
    }

    fn remove<'a>(&'a self, _: &'a Daemon, name: &'a str, _: Duration) -> Answer<'a, ()> {
        Box::pin(self.change(format!("remove {name}"), move |world| {
            world.containers.retain(|_, (found, _)| found.name != name && found.id != name);
            Ok(())
        }))
    }

    fn has_image<'a>(&'a self, _: &'a Daemon, image: &'a str, _: Duration) -> Answer<'a, bool> {
        Box::pin(async move { self.look(|world| world.images.contains(image)) })
    }

    fn pull<'a>(&'a self, _: &'a Daemon, image: &'a str, _: Duration) -> Answer<'a, ()> {
        Box::pin(self.change(format!("pull {image}"), move |world| {
            if !world.registry.contains(image) {
                return Err(RuntimeError::ImageMissing(image.to_owned()));
            }
            world.images.insert(image.to_owned());
            Ok(())
        }))
    }

    fn ensure_network<'a>(
        &'a self,
        _: &'a Daemon,
        network: &'a str,
        _: &'a BTreeMap<String, String>,
        _: Duration,
    ) -> Answer<'a, ()> {
        Box::pin(self.change(format!("network {network}"), move |world| {
            world.networks.insert(network.to_owned());
            Ok(())
        }))
    }

    fn remove_networks<'a>(
        &'a self,
        _: &'a Daemon,
        _: (&'a str, &'a str),
        _: Duration,
    ) -> Answer<'a, ()> {
        Box::pin(self.change("remove networks".to_owned(), |world| {
            world.networks.clear();
            Ok(())
        }))
    }
}

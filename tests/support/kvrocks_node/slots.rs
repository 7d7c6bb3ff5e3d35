//! Slots that change their owner: migrations away and to here, and `SETSLOT`.

use std::sync::Arc;

use super::{
    core::{Core, Import, Migration, Moving},
    options::Finish,
    topology::{Entry, Range, show},
};

impl Core {
    /// Judges `CLUSTERX MIGRATE` and, if nothing is wrong, marks the migration as begun.
    pub fn begin_migration(&mut self, range: Range, to: &str) -> Result<Arc<Entry>, &'static str> {
        let to = self.topology.nodes.get(to).cloned();
        let to = to.ok_or("Can't find the destination node id")?;
        let hull = (self.migrated.keys().next(), self.migrated.keys().next_back());
        let overlaps = |(low, high): Range| range.0 <= high && low <= range.1;
        if let (Some(low), Some(high)) = hull
            && overlaps((*low, *high))
        {
            return Err("Can't migrate slot which has been migrated");
        }
        let is_mine = |slot| {
            let owner = self.topology.owner(slot);
            owner.zip(self.myself()).is_some_and(|(owner, me)| Arc::ptr_eq(owner, me))
        };
        if !(range.0..=range.1).all(is_mine) {
            return Err("Can't migrate slot which doesn't belong to me");
        }
        if self.is_replica() {
            return Err("Slave can't migrate slot");
        }
        if to.master.is_some() {
            return Err("Can't migrate slot to a slave");
        }
        if to.id == self.my_id {
            return Err("Can't migrate slot to myself");
        }
        if self.migration.as_ref().is_some_and(|job| job.state == Moving::Start) {
            return Err("There is already a migrating job");
        }
        if self.forbidden.is_some_and(overlaps) {
            return Err("Can't migrate slot which has been migrated");
        }
        self.forbidden = None;
        self.migration = Some(Migration { range, to: Arc::clone(&to), state: Moving::Start });
        Ok(to)
    }

    /// Ends the migration that goes on.
    pub fn end_migration(&mut self, is_moved: bool) {
        let Some(migration) = &mut self.migration else { return };
        if migration.state != Moving::Start {
            return;
        }
        migration.state = if is_moved { Moving::Success } else { Moving::Fail };
        if is_moved {
            let (low, high) = migration.range;
            let to = Arc::clone(&migration.to);
            self.migrated.extend((low..=high).map(|slot| (slot, Arc::clone(&to))));
        } else {
            self.forbidden = None;
        }
    }

    /// `CLUSTER IMPORT`, which only nodes send: 0 begins, 1 ends well, 2 gives up.
    pub fn import(&mut self, range: Range, state: &str) -> Result<(), String> {
        if self.is_replica() {
            return Err("Slave can't import slot".to_owned());
        }
        let others = self.import.as_ref().map_or_else(String::new, |import| show(import.range));
        let mismatch =
            || format!("mismatch slot, importing slot(s): {others}, but got: {}", show(range));
        let shown = self.import.as_mut().filter(|import| import.range == range);
        match state {
            "0" => {
                let is_mine = |slot| {
                    let owner = self.topology.owner(slot);
                    owner.zip(self.myself()).is_some_and(|(owner, me)| Arc::ptr_eq(owner, me))
                };
                if (range.0..=range.1).any(is_mine) {
                    return Err("Can't import slot which belongs to me".to_owned());
                }
                let is_running = |import: &&Import| import.state == "start";
                if let Some(import) = self.import.as_ref().filter(is_running) {
                    return Err(format!(
                        "only one importing job is allowed, current importing: {}",
                        show(import.range)
                    ));
                }
                self.store.clear(&self.history.clone(), range);
                self.import = Some(Import { range, state: "start", is_open: true });
                // What comes back may be written again.
                if self.forbidden == Some(range) {
                    self.forbidden = None;
                    self.migration = None;
                }
                Ok(())
            }
            "1" => {
                let shown = shown.ok_or_else(mismatch)?;
                shown.state = "success";
                if shown.is_open {
                    self.imported.extend((range.0..=range.1).map(|slot| (slot, ())));
                }
                Ok(())
            }
            "2" => {
                shown.ok_or_else(mismatch)?.state = "error";
                self.store.clear(&self.history.clone(), range);
                Ok(())
            }
            _ => Err("Invalid import state".to_owned()),
        }
    }

    /// The source is gone.
    pub fn break_import(&mut self, range: Range) {
        let is_running = |import: &&mut Import| import.range == range && import.state == "start";
        if let Some(import) = self.import.as_mut().filter(is_running) {
            import.state = "error";
            self.store.clear(&self.history.clone(), range);
        }
    }

    /// Brings a migration that goes on to its end.
    pub fn finish(&mut self, how: Finish) {
        match how {
            Finish::Success => self.faults.holds_migrations = false,
            Finish::Fail => self.end_migration(false),
            Finish::Lost => {
                self.migration = None;
                self.forbidden = None;
            }
        }
    }

    /// `CLUSTERX SETSLOT`: one more version, in which a node owns these slots.
    pub fn set_slot(
        &mut self,
        range: Range,
        option: &str,
        id: &str,
        version: &str,
    ) -> Result<(), &'static str> {
        let version: i64 = version.parse().map_err(|_| "Invalid version")?;
        if !option.eq_ignore_ascii_case("node") {
            return Err("Invalid setslot options");
        }
        if version <= 0 || version != self.version + 1 {
            return Err("Invalid cluster version");
        }
        if !Self::is_id(id) {
            return Err("Invalid node id");
        }
        let owner = self.topology.nodes.get(id).cloned().ok_or("No this node in the cluster")?;
        if owner.master.is_some() {
            return Err("The node isn't a master");
        }
        self.version = version;
        for slot in range.0..=range.1 {
            let is_gone = self.migrated.remove(&slot).is_some() && owner.id != self.my_id;
            if is_gone {
                self.store.clear(&self.history.clone(), (slot, slot));
            }
            self.imported.remove(&slot);
        }
        self.topology.give(range, &owner);
        self.save_file();
        Ok(())
    }
}

//! Templates and settings of the pool change.

use std::sync::Arc;

use super::{ClusterType, Rejection, Reply, State, settings::SettingsChange, template::Template};

/// Most templates.
const TEMPLATES_MAX: usize = 256;

impl State {
    pub(super) fn put_template(&mut self, template: Template) -> Result<Reply, Rejection> {
        template.judge(self.settings.port_step)?;
        let at = self.templates.iter().position(|present| present.kind == template.kind);
        match at {
            Some(at) => {
                self.templates.set(at, Arc::new(template));
            }
            None if self.templates.len() >= TEMPLATES_MAX => {
                let max = TEMPLATES_MAX as u64;
                return Err(Rejection::TooMany { what: "templates".to_owned(), max });
            }
            None => self.templates.push_back(Arc::new(template)),
        }
        // Hosts that could not be filled may be filled now.
        self.fill_soon();
        Ok(Reply::Done)
    }

    pub(super) fn remove_template(&mut self, kind: &ClusterType) -> Result<Reply, Rejection> {
        let at = self.templates.iter().position(|present| present.kind == *kind);
        self.templates.remove(at.ok_or(Rejection::NoTemplate)?);
        Ok(Reply::Done)
    }

    pub(super) fn change_settings(&mut self, change: &SettingsChange) -> Result<Reply, Rejection> {
        let settings = self.settings.changed(change)?;
        let step = settings.port_step;
        if let Some(template) = self.templates.iter().find(|template| !template.fits(step)) {
            let kind = &template.kind;
            return Err(Rejection::InvalidSetting(format!(
                "port_step {step} is too small for the template {}/{}/{}",
                kind.plugin, kind.mode, kind.size
            )));
        }
        self.settings = settings;
        self.trim_history();
        Ok(Reply::Done)
    }

    fn fill_soon(&mut self) {
        let waiting = |host: &&Arc<super::model::Host>| host.fill_not_before_ms > 0;
        for host in self.hosts.values().filter(waiting).cloned().collect::<Vec<_>>() {
            self.put_host(super::model::Host { fill_not_before_ms: 0, ..(*host).clone() });
        }
    }
}

//! Configs: making, relabelling and removing them.

use std::sync::Arc;

use super::{Applied, check_version, not_found};
use crate::spec::{ConfigId, ConfigSpec, Timestamp};
use crate::state::State;
use crate::state::command::Reply;
use crate::state::object::{Config, Meta};
use crate::state::rejected::{Kind, Rejected};

impl State {
    pub(super) fn create_config(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ConfigId,
        spec: ConfigSpec,
    ) -> Applied {
        // Proposed again after its first answer was lost.
        if let Some(made) = self.configs.get(&id) {
            return Ok(Reply::Written {
                version: made.meta.version,
            });
        }
        if self.config_names.contains_key(&spec.name) {
            return Err(Rejected::NameTaken {
                kind: Kind::Config,
                name: spec.name,
            });
        }
        self.config_names.insert(spec.name.clone(), id);
        self.configs.insert(
            id,
            Arc::new(Config {
                id,
                meta: Meta::new(index, at),
                spec,
            }),
        );
        Ok(Reply::Written { version: index })
    }

    pub(super) fn update_config(
        &mut self,
        index: u64,
        at: Timestamp,
        id: ConfigId,
        version: u64,
        spec: ConfigSpec,
    ) -> Applied {
        let config = self
            .configs
            .get_mut(&id)
            .ok_or_else(|| not_found(Kind::Config, &id))?;
        check_version(
            Kind::Config,
            &config.spec.name,
            config.meta.version,
            version,
        )?;
        let same_payload = spec.data.0.is_empty() || spec.data == config.spec.data;
        if spec.name != config.spec.name
            || !same_payload
            || spec.templating != config.spec.templating
        {
            return Err(Rejected::Immutable {
                kind: Kind::Config,
                name: config.spec.name.clone(),
            });
        }
        let config = Arc::make_mut(config);
        config.spec.labels = spec.labels;
        config.meta.write(index, at);
        Ok(Reply::Written { version: index })
    }

    pub(super) fn remove_config(&mut self, id: ConfigId) -> Applied {
        let config = self
            .configs
            .remove(&id)
            .ok_or_else(|| not_found(Kind::Config, &id))?;
        self.config_names.remove(&config.spec.name);
        Ok(Reply::Done)
    }
}

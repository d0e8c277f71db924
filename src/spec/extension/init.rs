//! Containers that run before a task's own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spec::ContainerSpec;
use crate::spec::nullable::{is_default, nullable};
use crate::spec::parse::ParseError;
use crate::spec::service::Labels;

/// One entry of `InitContainers`: runs to its end on the task's node, on its networks and with its
/// mounts, before the next one and then the task's container start. One that fails fails the task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InitContainer {
    pub name: String,
    pub image: String,
    /// Replaces the image's entry point.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub command: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub args: Vec<String>,
    /// In addition to what the task's container has.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    /// The task's container's, unless it has one of its own.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub user: String,
}

impl InitContainer {
    /// What is run: the task's container with what differs.
    pub fn container(&self, task: &ContainerSpec) -> ContainerSpec {
        let mut env = task.env.clone();
        env.extend(self.env.iter().cloned());
        ContainerSpec {
            image: self.image.clone(),
            labels: Labels::new(),
            command: self.command.clone(),
            args: self.args.clone(),
            dir: String::new(),
            user: if self.user.is_empty() {
                task.user.clone()
            } else {
                self.user.clone()
            },
            env,
            healthcheck: None,
            ..task.clone()
        }
    }
}

impl fmt::Display for InitContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.image)?;
        for word in &self.args {
            write!(f, ",{word}")?;
        }
        Ok(())
    }
}

impl FromStr for InitContainer {
    type Err = ParseError;

    /// `migrate=app:2,rake,db:migrate`: a name, an image, and the words of its command.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || {
            ParseError::new(
                "init container",
                text,
                "NAME=IMAGE[,ARGUMENT…], such as migrate=app:2,rake,db:migrate",
            )
        };
        let (name, rest) = text.split_once('=').ok_or_else(wrong)?;
        let mut words = rest.split(',').map(str::to_owned);
        let image = words.next().filter(|image| !image.is_empty());
        let image = image.ok_or_else(wrong)?;
        if name.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_owned(),
            image,
            args: words.collect(),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_container_is_a_name_an_image_and_words() {
        let init: InitContainer = "migrate=app:2,rake,db:migrate".parse().unwrap();
        assert_eq!(init.name, "migrate");
        assert_eq!(init.image, "app:2");
        assert_eq!(init.args, ["rake", "db:migrate"]);
        assert_eq!(init.to_string(), "migrate=app:2,rake,db:migrate");
        for wrong in ["", "migrate", "=app:2", "migrate=", "migrate=,x"] {
            assert!(wrong.parse::<InitContainer>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_shares_what_the_task_has_and_runs_its_own() {
        let task = ContainerSpec {
            image: "app:2".to_owned(),
            args: vec!["serve".to_owned()],
            env: vec!["A=1".to_owned()],
            user: "app".to_owned(),
            healthcheck: Some(crate::spec::container::Healthcheck::default()),
            ..ContainerSpec::default()
        };
        let mut init: InitContainer = "one=tools:1,check".parse().unwrap();
        init.env.push("B=2".to_owned());
        let made = init.container(&task);
        assert_eq!(
            (made.image.as_str(), made.user.as_str()),
            ("tools:1", "app")
        );
        assert_eq!(made.args, ["check"]);
        assert_eq!(made.env, ["A=1", "B=2"]);
        assert_eq!(made.healthcheck, None);
    }
}

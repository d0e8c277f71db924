//! `--depends-on` and `--init-container`.

use clap::Args;

use crate::spec::ServiceSpec;
use crate::spec::extension::dependency::Dependency;
use crate::spec::extension::init::InitContainer;
use crate::spec::parse::ParseError;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct StartFlags {
    /// Start tasks only once another service is started, healthy or completed; with ",update"
    /// updates wait too; "none" takes all away
    #[arg(long, value_name = "SERVICE[:CONDITION][,update]", value_parser = dependency)]
    depends_on: Vec<Given<Dependency>>,
    /// Container that runs to its end before each task's own; several run in the order given;
    /// "none" takes all away
    #[arg(long, value_name = "NAME=IMAGE[,ARGUMENT...]", value_parser = init_container)]
    init_container: Vec<Given<InitContainer>>,
}

/// What a flag gives, or that it gives nothing from now on.
#[derive(Debug, Clone)]
enum Given<T> {
    None,
    Some(T),
}

impl<T: Clone> Given<T> {
    fn all(given: &[Self]) -> Vec<T> {
        let some = given.iter().filter_map(|given| match given {
            Self::None => None,
            Self::Some(value) => Some(value.clone()),
        });
        some.collect()
    }
}

fn dependency(text: &str) -> Result<Given<Dependency>, ParseError> {
    if text == "none" {
        return Ok(Given::None);
    }
    text.parse().map(Given::Some)
}

fn init_container(text: &str) -> Result<Given<InitContainer>, ParseError> {
    if text == "none" {
        return Ok(Given::None);
    }
    text.parse().map(Given::Some)
}

impl StartFlags {
    /// Puts what was given in place of what there was.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) {
        if !self.depends_on.is_empty() {
            spec.swarmr.get_or_insert_default().depends_on = Given::all(&self.depends_on);
        }
        if !self.init_container.is_empty() {
            let inits = Given::all(&self.init_container);
            spec.swarmr.get_or_insert_default().init_containers = inits;
        }
    }
}

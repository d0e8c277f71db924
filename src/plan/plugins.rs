//! Plugins of the engine that a spec needs: drivers of its volumes and of its log.

use crate::spec::ServiceSpec;
use crate::state::Node;

/// What every engine brings along.
const BUILT_IN: [&str; 2] = ["local", "none"];

/// Kind and name of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Plugins<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Plugins<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(spec: &'a ServiceSpec) -> Self {
        let template = &spec.task_template;
        let mounts = template.container_spec.mounts.iter();
        let volumes = mounts
            .filter(|mount| mount.kind.as_deref().unwrap_or("volume") == "volume")
            .filter_map(|mount| {
                let options = mount.options.get("VolumeOptions")?;
                options.pointer("/DriverConfig/Name")?.as_str()
            })
            .map(|name| ("Volume", name));
        let log = template.log_driver.as_ref();
        let log = log.map(|driver| ("Log", driver.name.as_str()));
        let needed = volumes
            .chain(log)
            .filter(|(_, name)| !name.is_empty() && !BUILT_IN.contains(name));
        Self(needed.collect())
    }

    pub(super) fn are_on(&self, node: &Node) -> bool {
        self.missing_on(node).next().is_none()
    }

    /// Those that a node lacks. One that tells of no plugin of a kind is too old to tell.
    pub(super) fn missing_on<'b>(
        &'b self,
        node: &'b Node,
    ) -> impl Iterator<Item = (&'static str, &'a str)> + 'b {
        let plugins = &node.description.plugins;
        self.0.iter().copied().filter(move |(kind, name)| {
            let mut of_kind = plugins.iter().filter(|(known, _)| known == kind).peekable();
            of_kind.peek().is_some() && !of_kind.any(|(_, known)| is_same(known, name))
        })
    }
}

/// A plugin without a tag is the one tagged `latest`.
fn is_same(known: &str, wanted: &str) -> bool {
    let plain = |name: &'_ str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
    known == wanted || plain(known) == plain(wanted)
}

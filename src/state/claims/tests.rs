use super::*;
use crate::spec::extension::Extension;
use crate::spec::service::{ResourceRequirements, Resources};

fn node() -> NodeDescription {
    let gpu = |id: &str| Device {
        kind: "gpu".to_owned(),
        id: id.to_owned(),
        path: format!("/dev/fake{id}"),
        ..Device::default()
    };
    NodeDescription {
        generic_resources: vec![
            GenericResource::discrete("ssd", 3),
            GenericResource::named("card", "a"),
            GenericResource::named("card", "b"),
        ],
        devices: vec![
            gpu("0"),
            gpu("1"),
            Device {
                kind: "dri".to_owned(),
                id: "renderD128".to_owned(),
                path: "/dev/dri/renderD128".to_owned(),
                shared: true,
                ..Device::default()
            },
        ],
        ..NodeDescription::default()
    }
}

fn reserving(generic_resources: Vec<GenericResource>) -> ServiceSpec {
    let mut spec = ServiceSpec::default();
    spec.task_template.resources = Some(ResourceRequirements {
        limits: None,
        reservations: Some(Resources {
            generic_resources,
            ..Resources::default()
        }),
    });
    spec
}

fn extended(extension: Extension) -> ServiceSpec {
    ServiceSpec {
        swarmr: Some(extension),
        ..ServiceSpec::default()
    }
}

/// Tasks of a spec until no more fit: what each was given, and why the next was not.
fn fill(spec: &ServiceSpec) -> (Vec<Claims>, Vec<String>) {
    let (node, mut taken, mut given) = (node(), Taken::default(), Vec::new());
    for _ in 0..10 {
        match Ask::of(spec).claim(&node, &taken) {
            Ok(claims) => {
                taken.add(&claims);
                given.push(claims);
            }
            Err(short) => {
                let texts = short.iter().map(ToString::to_string).collect();
                for claims in &given {
                    assert!(!taken.exceeds(claims, &node));
                    taken.remove(claims);
                }
                assert_eq!(taken, Taken::default(), "everything is given back");
                return (given, texts);
            }
        }
    }
    (given, Vec::new())
}

fn ids(claims: &[Claims]) -> Vec<Vec<&str>> {
    claims
        .iter()
        .map(|claims| claims.devices.iter().map(|it| it.id.as_str()).collect())
        .collect()
}

#[test]
fn counted_resources_are_given_by_number() {
    let (given, short) = fill(&reserving(vec![GenericResource::discrete("ssd", 2)]));
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].generic, [GenericResource::discrete("ssd", 2)]);
    assert_eq!(short, ["ssd: 2 asked for, 1 free"]);
}

#[test]
fn named_resources_are_given_by_name() {
    let (given, short) = fill(&reserving(vec![GenericResource::discrete("card", 1)]));
    let names: Vec<_> = given.iter().flat_map(|claims| &claims.generic).collect();
    assert_eq!(
        names,
        [
            &GenericResource::named("card", "a"),
            &GenericResource::named("card", "b")
        ]
    );
    assert_eq!(short, ["card: 1 asked for, 0 free"]);
}

#[test]
fn a_name_that_is_asked_for_is_not_given_as_any_other() {
    let both = reserving(vec![
        GenericResource::discrete("card", 1),
        GenericResource::named("card", "a"),
    ]);
    let (given, short) = fill(&both);
    assert_eq!(
        given[0].generic,
        [
            GenericResource::named("card", "a"),
            GenericResource::named("card", "b")
        ]
    );
    assert_eq!(short, ["card=a is taken", "card: 1 asked for, 0 free"]);
    let (_, short) = fill(&reserving(vec![GenericResource::named("card", "z")]));
    assert_eq!(short, ["card=z is not there"]);
}

#[test]
fn devices_are_given_one_by_one() {
    let request = |count| {
        extended(Extension {
            device_requests: vec![DeviceRequest::gpus(count)],
            ..Extension::default()
        })
    };
    let (given, short) = fill(&request(1));
    assert_eq!(ids(&given), [["0"], ["1"]]);
    assert_eq!(short, ["devices gpu: 1 asked for, 0 free"]);
    let (given, short) = fill(&request(-1));
    assert_eq!(ids(&given), [["0", "1"]]);
    assert_eq!(short, ["devices gpu: all asked for, 0 free"]);
    let (given, short) = fill(&request(3));
    assert!(given.is_empty());
    assert_eq!(short, ["devices gpu: 3 asked for, 2 free"]);
}

#[test]
fn a_device_asked_for_by_id_or_path_is_that_one() {
    let (given, short) = fill(&extended(Extension {
        device_requests: vec![
            DeviceRequest::gpus(1),
            DeviceRequest {
                device_ids: vec!["0".to_owned()],
                count: 0,
                ..DeviceRequest::gpus(0)
            },
        ],
        ..Extension::default()
    }));
    assert_eq!(ids(&given), [["1", "0"]], "in the order of the requests");
    assert_eq!(
        short,
        ["device gpu=0 is taken", "devices gpu: 1 asked for, 0 free"]
    );
    let mapped = |path: &str| {
        extended(Extension {
            devices: vec![DeviceMapping {
                path_on_host: path.to_owned(),
                ..DeviceMapping::default()
            }],
            ..Extension::default()
        })
    };
    let (given, short) = fill(&mapped("/dev/fake1"));
    assert_eq!(ids(&given), [["1"]]);
    assert_eq!(short, ["device /dev/fake1 is taken"]);
    assert_eq!(fill(&mapped("/dev/dri")).0.len(), 10, "it is shared");
    assert_eq!(fill(&mapped("/dev/x")).1, ["device /dev/x is not there"]);
}

#[test]
fn what_a_node_loses_is_missed() {
    let spec = reserving(vec![GenericResource::discrete("ssd", 3)]);
    let (mut node, mut taken) = (node(), Taken::default());
    let claims = Ask::of(&spec).claim(&node, &taken).unwrap();
    taken.add(&claims);
    assert!(!taken.exceeds(&claims, &node));
    node.generic_resources[0] = GenericResource::discrete("ssd", 2);
    assert!(taken.exceeds(&claims, &node));
}

//! `--device` and `--gpus`.

use clap::Args;

use crate::spec::ServiceSpec;
use crate::spec::device::{DeviceMapping, DeviceRequest};
use crate::spec::parse::{self, ParseError};

#[derive(Debug, Clone, Default, Args)]
pub(super) struct DeviceFlags {
    /// Device node for each task, which its node must have; "none" takes all away
    #[arg(long, value_name = "PATH[:TARGET[:PERMISSIONS]]", value_parser = device)]
    device: Vec<Given<DeviceMapping>>,
    /// GPUs for each task: a number, all, or device=ID[,ID]; "none" takes them away
    #[arg(long, value_name = "GPUS", value_parser = gpus)]
    gpus: Option<Given<DeviceRequest>>,
}

/// What a flag gives, or that it gives nothing from now on.
#[derive(Debug, Clone)]
enum Given<T> {
    None,
    Some(T),
}

fn device(text: &str) -> Result<Given<DeviceMapping>, ParseError> {
    if text == "none" {
        return Ok(Given::None);
    }
    parse::device(text).map(Given::Some)
}

fn gpus(text: &str) -> Result<Given<DeviceRequest>, ParseError> {
    if text == "none" {
        return Ok(Given::None);
    }
    parse::gpus(text).map(Given::Some)
}

impl DeviceFlags {
    /// Puts what was given in place of what there was.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) {
        if !self.device.is_empty() {
            let devices = self.device.iter().filter_map(|given| match given {
                Given::None => None,
                Given::Some(device) => Some(device.clone()),
            });
            spec.swarmr.get_or_insert_default().devices = devices.collect();
        }
        if let Some(given) = &self.gpus {
            let requests = &mut spec.swarmr.get_or_insert_default().device_requests;
            requests.retain(|request| request.kind() != "gpu");
            if let Given::Some(request) = given {
                requests.push(request.clone());
            }
        }
    }
}

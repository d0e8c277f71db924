//! `--device`, `--gpus`, and which device nodes a node offers.

use super::{ParseError, fields};
use crate::spec::device::{DeviceKind, DeviceMapping, DeviceRequest};

/// `PATH[:TARGET[:PERMISSIONS]]`, as `docker run` reads it.
pub fn device(text: &str) -> Result<DeviceMapping, ParseError> {
    let wrong = || {
        let allowed = "/dev/NAME[:TARGET][:PERMISSIONS] with permissions of r, w and m";
        ParseError::new("device", text, allowed)
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (path, target, permissions) = match parts.as_slice() {
        [path] => (*path, *path, "rwm"),
        [path, permissions] if is_permissions(permissions) => (*path, *path, *permissions),
        [path, target] => (*path, *target, "rwm"),
        [path, target, permissions] => (*path, *target, *permissions),
        _ => return Err(wrong()),
    };
    if !path.starts_with('/') || !target.starts_with('/') || !is_permissions(permissions) {
        return Err(wrong());
    }
    Ok(DeviceMapping {
        path_on_host: path.to_owned(),
        path_in_container: target.to_owned(),
        cgroup_permissions: permissions.to_owned(),
    })
}

/// Whether a text is a set of device permissions.
pub fn is_permissions(text: &str) -> bool {
    let mut left = vec!['r', 'w', 'm'];
    !text.is_empty()
        && text.chars().all(|char| {
            let place = left.iter().position(|other| *other == char);
            place.map(|place| left.remove(place)).is_some()
        })
}

/// `N`, `all`, `device=ID[,ID]`, or `count=N,driver=D,"capabilities=gpu,utility"`, as `docker run`
/// reads it.
pub fn gpus(text: &str) -> Result<DeviceRequest, ParseError> {
    let wrong = || {
        let allowed =
            "a number, all, device=ID[,ID] or count=N|all[,driver=NAME][,capabilities=NAME]";
        ParseError::new("GPU request", text, allowed)
    };
    let count = |text: &str| match text {
        "all" => Some(-1),
        text => text.parse::<i64>().ok().filter(|count| *count > 0),
    };
    if let Some(count) = count(text) {
        return Ok(DeviceRequest::gpus(count));
    }
    let mut request = DeviceRequest::gpus(0);
    let mut last = "";
    let pieces = fields(text)?;
    let pieces: Vec<&str> = pieces.iter().flat_map(|piece| piece.split(',')).collect();
    for piece in pieces {
        let (key, value) = piece.split_once('=').unwrap_or((last, piece));
        if value.is_empty() {
            return Err(wrong());
        }
        match key {
            "count" => request.count = count(value).ok_or_else(wrong)?,
            "driver" => value.clone_into(&mut request.driver),
            "device" => request.device_ids.push(value.to_owned()),
            "capabilities" => {
                let set = request.capabilities.first_mut().ok_or_else(wrong)?;
                if !set.iter().any(|known| known == value) {
                    set.push(value.to_owned());
                }
            }
            _ => return Err(wrong()),
        }
        last = key;
    }
    match (request.count, request.device_ids.is_empty()) {
        (0, true) => request.count = 1,
        (0, false) | (_, true) => {}
        (_, false) => return Err(wrong()),
    }
    Ok(request)
}

/// `KIND=PATTERN[,driver=NAME][,shared]`: `gpu=/dev/nvidia*,driver=nvidia`.
pub fn device_kind(text: &str) -> Result<DeviceKind, ParseError> {
    let wrong = || {
        let allowed = "KIND=/PATH[,driver=NAME][,shared], whose last part may have one *";
        ParseError::new("kind of device", text, allowed)
    };
    let mut pieces = text.split(',');
    let (kind, pattern) = pieces
        .next()
        .and_then(|it| it.split_once('='))
        .ok_or_else(wrong)?;
    let (folder, name) = pattern.rsplit_once('/').ok_or_else(wrong)?;
    let sound = pattern.starts_with('/') && !name.is_empty() && name.matches('*').count() <= 1;
    if kind.is_empty() || !sound || folder.contains('*') {
        return Err(wrong());
    }
    let mut found = DeviceKind {
        kind: kind.to_owned(),
        pattern: pattern.to_owned(),
        driver: String::new(),
        shared: false,
    };
    for piece in pieces {
        match piece.split_once('=') {
            None if piece == "shared" => found.shared = true,
            Some(("driver", name)) if !name.is_empty() => name.clone_into(&mut found.driver),
            _ => return Err(wrong()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_target_and_permissions() {
        let read = |text: &str| {
            device(text).map(|it| (it.path_on_host, it.path_in_container, it.cgroup_permissions))
        };
        let want = |path: &str, target: &str, permissions: &str| {
            Ok((path.to_owned(), target.to_owned(), permissions.to_owned()))
        };
        assert_eq!(read("/dev/a"), want("/dev/a", "/dev/a", "rwm"));
        assert_eq!(read("/dev/a:/dev/b"), want("/dev/a", "/dev/b", "rwm"));
        assert_eq!(read("/dev/a:r"), want("/dev/a", "/dev/a", "r"));
        assert_eq!(read("/dev/a:/dev/b:rw"), want("/dev/a", "/dev/b", "rw"));
        for wrong in [
            "",
            "dev/a",
            "/dev/a:x",
            "/dev/a:/dev/b:rr",
            "/dev/a::",
            "a.com/b=c",
        ] {
            assert!(device(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn gpus_are_asked_for_by_number_or_by_id() {
        assert_eq!(gpus("2"), Ok(DeviceRequest::gpus(2)));
        assert_eq!(gpus("all"), Ok(DeviceRequest::gpus(-1)));
        let chosen = gpus("device=0,3").unwrap();
        assert_eq!(
            (chosen.count, chosen.device_ids.as_slice()),
            (0, &["0".to_owned(), "3".to_owned()][..])
        );
        let chosen = gpus(r#""device=1,2",driver=nvidia"#).unwrap();
        assert_eq!(
            (chosen.driver.as_str(), chosen.device_ids.len()),
            ("nvidia", 2)
        );
        let able = gpus("count=all,capabilities=utility").unwrap();
        assert_eq!(able.count, -1);
        assert_eq!(able.capabilities, [["gpu", "utility"]]);
        for wrong in ["", "0", "-1", "few", "device=", "count=1,device=0", "x=y"] {
            assert!(gpus(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_kind_of_device_has_a_pattern() {
        let kind = device_kind("gpu=/dev/nvidia*,driver=nvidia").unwrap();
        assert_eq!(
            (kind.kind.as_str(), kind.driver.as_str(), kind.shared),
            ("gpu", "nvidia", false)
        );
        assert!(device_kind("fuse=/dev/fuse,shared").unwrap().shared);
        for wrong in [
            "",
            "gpu",
            "gpu=",
            "gpu=nvidia",
            "gpu=/dev/*/*",
            "gpu=/dev/a*b*",
            "gpu=/dev/a,x",
        ] {
            assert!(device_kind(wrong).is_err(), "{wrong}");
        }
    }
}

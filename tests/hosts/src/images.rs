//! The images of the tests, built without a registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::output::Output;

/// A web server; answers `version=1 host=… client=… server=…` on port 80, and
/// on `/slow` the same after two seconds.
pub const IMAGE_WEB_1: &str = "web:1";
/// The next version of it.
pub const IMAGE_WEB_2: &str = "web:2";
/// A version that ends at once with code 1.
pub const IMAGE_BROKEN: &str = "web:broken";
/// A shell with `getent`, `wget` and `nc`; does nothing by itself.
pub const IMAGE_TOOLS: &str = "tools:latest";

/// Path of a tar file with all images, built now if it is not there yet.
pub fn image_archive() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/build-images");
    let path = Output::of(&mut Command::new(&script))
        .and_then(Output::ok)
        .with_context(|| format!("build images with {}", script.display()))?;
    let path = PathBuf::from(path);
    ensure!(
        path.is_file(),
        "{} said {} but it is not there",
        script.display(),
        path.display()
    );
    Ok(path)
}

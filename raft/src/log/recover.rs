//! From the files of a directory to the log they hold. Runs once, at start, before anything is
//! answered: cuts off what the last crash tore, and refuses what no crash explains.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::Index;
use super::record::{Record, Stored};
use super::segment::{self, Damage};
use crate::error::StartError;
use crate::store_dir::{at, sync_dir};

/// The log of a directory.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    /// The segment to go on in; `None` if one has to be created.
    pub(super) active: Option<Active>,
    /// Number for the next segment.
    pub(super) next_segment: u64,
    pub(super) next_batch: u32,
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) file: Arc<File>,
    pub(super) bytes: u64,
}

pub(super) fn recover(dir: &Path, cache_limit: usize) -> Result<Recovered, StartError> {
    let numbers = segment_numbers(dir)?;
    let mut recovered = Recovered {
        index: Index::new(cache_limit),
        active: None,
        next_segment: numbers.first().copied().unwrap_or(1),
        next_batch: 0,
    };
    for number in &numbers {
        let path = dir.join(segment::file_name(*number));
        if *number != recovered.next_segment {
            return Err(damaged(
                &path,
                0,
                format!("segment {} before it is missing", recovered.next_segment),
            ));
        }
        let last = Some(number) == numbers.last();
        load_segment(&mut recovered, dir, path, *number, last)?;
    }
    check_front(&recovered, dir, numbers.first().copied())?;
    Ok(recovered)
}

/// Numbers of the segments that exist, in order.
fn segment_numbers(dir: &Path) -> Result<Vec<u64>, StartError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let name = entry.map_err(at(dir))?.file_name();
        numbers.extend(name.to_str().and_then(segment::number_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn load_segment(
    recovered: &mut Recovered,
    dir: &Path,
    path: PathBuf,
    number: u64,
    last: bool,
) -> Result<(), StartError> {
    let (file, bytes) = read_from_disk(&path, last).map_err(at(&path))?;
    let to_error = |Damage { offset, what }| damaged(&path, offset, what);
    let Some(scan) = segment::scan(number, &bytes, last).map_err(to_error)? else {
        tracing::warn!(file = %path.display(), "removed a segment that was being created");
        fs::remove_file(&path).map_err(at(&path))?;
        return sync_dir(dir).map_err(at(dir));
    };
    if let Some(why) = &scan.torn {
        let lost_bytes = bytes.len() as u64 - scan.good_bytes;
        tracing::warn!(file = %path.display(), offset = scan.good_bytes, lost_bytes, %why,
            "cut off a write that was never acknowledged");
        file.set_len(scan.good_bytes).map_err(at(&path))?;
        file.sync_all().map_err(at(&path))?;
    }
    for stored in scan.records {
        let offset = stored.place.offset;
        replay(&mut recovered.index, stored)
            .map_err(|error| damaged(&path, offset, error.to_string()))?;
    }
    let file = Arc::new(file);
    recovered.index.add_file(number, file.clone());
    recovered.next_segment = number + 1;
    recovered.next_batch = scan.next_batch;
    recovered.active = Some(Active {
        number,
        file,
        bytes: scan.good_bytes,
    });
    Ok(())
}

/// Reads a segment as the disk has it. What a process left behind unsynced is synced first, so
/// that what is read is also kept; then the page cache is dropped, since after a failed sync it
/// may show what the disk does not have.
fn read_from_disk(path: &Path, last: bool) -> io::Result<(File, Vec<u8>)> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    if last {
        file.sync_all()?;
        if let Err(error) = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed) {
            tracing::debug!(%error, "the page cache stays as it is");
        }
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

fn replay(index: &mut Index, stored: Stored) -> io::Result<()> {
    match stored.record {
        // Left in a segment that also holds later ones.
        Record::Entry(entry)
            if index
                .purged()
                .is_some_and(|purged| entry.log_id.index <= purged.index) => {}
        Record::Entry(entry) => {
            index.rebase_if_empty(entry.log_id.index);
            index.push(entry, Some(stored.place))?;
        }
        Record::Vote(vote) => index.set_vote(vote),
        Record::Committed(id) => index.set_committed(id),
        Record::Purged(id) => index.purge(id),
        Record::Truncated(after) => index.truncate_after(after),
    }
    Ok(())
}

/// A log whose first segments are gone must say that they were purged.
fn check_front(recovered: &Recovered, dir: &Path, first: Option<u64>) -> Result<(), StartError> {
    let Some(first) = first else { return Ok(()) };
    let index = &recovered.index;
    let expected = index.purged().map_or(0, |id| id.index + 1);
    // Where it is empty it begins nowhere: entry 0 may still come.
    let gap = index.last_id() != index.purged() && index.first_index() > expected;
    if gap || (first > 1 && index.purged().is_none()) {
        let path = dir.join(segment::file_name(first));
        return Err(damaged(
            &path,
            0,
            format!(
                "the log begins at entry {}, but entry {expected} should be its first",
                index.first_index()
            ),
        ));
    }
    Ok(())
}

fn damaged(path: &Path, offset: u64, what: String) -> StartError {
    StartError::Damaged {
        file: path.to_owned(),
        offset,
        what,
    }
}

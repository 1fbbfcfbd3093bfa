//! What lies on this machine: the routes as they are mounted, the state directory, the keys and tokens.

use super::Finding;
use crate::{
    config::{
        self,
        settings::{Settings, SourceKind},
    },
    core::clamp::Clamps,
    io::{source::file::FILE_NAME, store::Store},
};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Fewer bytes of ticket key are refused by `serve`.
const TICKET_KEY_BYTES_MIN: usize = 16;

pub(super) fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.source == SourceKind::File {
        findings.extend(routes(settings.routes.as_deref()));
    }
    findings.push(state(settings.state_dir.as_deref()));
    findings.push(keys(settings));
    findings
}

fn routes(path: Option<&Path>) -> Vec<Finding> {
    let Some(path) = path else {
        return vec![Finding::fail("routes", "no source is named", "set `routes:`, or `source: kubernetes` or `git`")];
    };
    let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            let next = "mount the ConfigMap there, with a key `routes.yaml`";
            return vec![Finding::fail("routes", format!("{}: {error}", file.display()), next)];
        }
    };
    vec![mount(path, &file), compiled("routes", &file.display().to_string(), &text)]
}

/// Whether a change of the ConfigMap will ever be seen here.
fn mount(path: &Path, file: &Path) -> Finding {
    let here = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if is_mount_point(&mounts, &here) {
        let what = format!("{} is mounted by itself, as `subPath` does: it never changes", file.display());
        return Finding::fail("mount", what, "mount the whole ConfigMap as a directory, and name that as `routes`");
    }
    if path.is_dir() && path.join("..data").is_symlink() {
        return Finding::ok("mount", format!("{} is a mounted ConfigMap", path.display()));
    }
    Finding::ok("mount", format!("{} is no ConfigMap; changes of the file are seen", path.display()))
}

/// Whether somebody has mounted something at just this path; `mounts` as in `/proc/self/mountinfo`.
fn is_mount_point(mounts: &str, path: &Path) -> bool {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.into_iter().any(|point| Path::new(&point.replace("\\040", " ")) == path)
}

/// Whether a routes file is good.
pub(super) fn compiled(check: &'static str, name: &str, text: &str) -> Finding {
    match config::read(text, &Clamps::default()) {
        Ok((snapshot, warnings)) if warnings.is_empty() => {
            Finding::ok(check, format!("{name}: {} route(s)", snapshot.routes.len()))
        }
        Ok((_, warnings)) => {
            let first = warnings.first().map_or(String::new(), |warning| warning.one_line(name));
            Finding::warn(check, format!("{} warning(s), such as {first}", warnings.len()), "see `coalmine check`")
        }
        Err(problems) => {
            let first = problems.first().map_or(String::new(), |problem| problem.one_line(name));
            Finding::fail(check, format!("{} problem(s), such as {first}", problems.len()), "see `coalmine check`")
        }
    }
}

fn state(dir: Option<&Path>) -> Finding {
    let Some(dir) = dir else {
        let what = "kept in memory only: a restart forgets what was rejected";
        return Finding::warn("state", what, "set `state: { dir: ... }` to a directory that outlives the process");
    };
    match Store::open_dir(dir, Arc::default()) {
        Ok(_) => Finding::ok("state", format!("{} can be written to", dir.display())),
        Err(error) => Finding::fail("state", error.to_string(), "give this user a writable directory there"),
    }
}

/// Every file with a secret or a certificate: it can be read, and ssh will take it.
fn keys(settings: &Settings) -> Finding {
    let git = settings.git.as_ref();
    let of_git = git.map(|git| {
        let signing = [&git.signing_key, &git.signing_passphrase_file];
        [&git.ssh_key, &git.known_hosts, &git.token_file, &git.ca_file].into_iter().chain(signing)
    });
    let tokens = &settings.tokens;
    let mut files: Vec<&PathBuf> = of_git.into_iter().flatten().flatten().collect();
    files.extend([&tokens.viewer, &tokens.labeler, &tokens.operator, &settings.ticket_key_file].into_iter().flatten());
    for certificate in settings.tls.iter().flat_map(|tls| &tls.certificates) {
        files.extend([&certificate.cert_file, &certificate.key_file]);
    }
    for file in &files {
        if let Err(error) = fs::read(file) {
            let next = "is the secret mounted, and may this user read it?";
            return Finding::fail("keys", format!("{}: {error}", file.display()), next);
        }
    }
    if let Some(key) = git.and_then(|git| git.ssh_key.as_deref()).filter(|key| is_open(key)) {
        let what = format!("{} may be read by others: ssh refuses it", key.display());
        return Finding::fail("keys", what, "set its mode to 0400");
    }
    let short = |file: &&PathBuf| fs::read(file).is_ok_and(|key| key.trim_ascii().len() < TICKET_KEY_BYTES_MIN);
    match &settings.ticket_key_file {
        Some(file) if short(&file) => {
            let what = format!("{} has fewer than {TICKET_KEY_BYTES_MIN} bytes", file.display());
            Finding::fail("keys", what, "put random bytes there, the same for all replicas")
        }
        None if settings.replicas > 1 => {
            let what = "there is no `ticket_key_file`: one replica refuses the tickets of another";
            Finding::fail("keys", what, "give all replicas the same key")
        }
        Some(_) | None => Finding::ok("keys", format!("{} file(s) of keys and tokens can be read", files.len())),
    }
}

/// As ssh sees it: a key that belongs to us and is open to others is refused.
fn is_open(key: &Path) -> bool {
    fs::metadata(key).is_ok_and(|meta| meta.uid() == rustix::process::getuid().as_raw() && meta.mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_mounted_by_itself_is_told_from_one_in_a_mounted_directory() {
        let mounts = "30 1 0:26 / / rw - overlay overlay rw
41 30 0:40 /volumes/x/..data /etc/coalmine/my\\040routes rw - ext4 /dev/sda1 rw
42 30 0:40 /volumes/y/routes.yaml /etc/one/routes.yaml rw - ext4 /dev/sda1 rw
";
        assert!(is_mount_point(mounts, Path::new("/etc/one/routes.yaml")));
        assert!(is_mount_point(mounts, Path::new("/etc/coalmine/my routes")));
        assert!(!is_mount_point(mounts, Path::new("/etc/coalmine/my routes/routes.yaml")));
    }
}
